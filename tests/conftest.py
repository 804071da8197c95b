"""Fixtures for tests on a real Postgres; what they hand out is in tests/support."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.databases import Database, fresh_database, running_server
from tests.support.embedders import model
from tests.support.pg_cron import cron_server
from tests.support.pgmq_extension import pgmq_database, pgmq_server
from worker.postgres import EmbeddedPostgres

__all__ = ["cron_server", "model", "pgmq_database", "pgmq_server"]  # fixtures that live beside what they are made of


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The session's server, started by the first test that asks for it."""
    with running_server() as running:
        yield running


@pytest.fixture
def empty_database(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database of this test's own with nothing in it."""
    with fresh_database(server) as database:
        yield database


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database migrated once, to be cloned: nothing may stay connected to it."""
    from worker.migrate import migrate

    with fresh_database(server) as database:
        migrate(database.conninfo)
        yield database


@pytest.fixture
def database(server: EmbeddedPostgres, template: Database) -> Iterator[Database]:
    """A migrated database of this test's own. Roles are shared by all databases of the server."""
    with fresh_database(server, template.name) as clone:
        yield clone
