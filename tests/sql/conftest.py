"""A connection to a migrated database, and roles that go away again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.roles import Roles, temporary_roles
from tests.support.sql import connected


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The superuser in a migrated database of this test's own."""
    with connected(database) as connection:
        yield connection


@pytest.fixture
def other(database: Database) -> Iterator[psycopg.Connection]:
    """A second session in the same database."""
    with connected(database) as connection:
        yield connection
