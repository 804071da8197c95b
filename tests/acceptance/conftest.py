"""The fixtures of the tests of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import Database


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The user's own connection to the test's database, autocommit."""
    with database.connect() as opened:
        yield opened
