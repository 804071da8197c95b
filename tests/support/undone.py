"""One session for the tests of a file, each in a transaction that is rolled back.

Most of what a test of SQL takes is a database, a connection and what its functions have to compile, again in each. A
file whose tests need one session only, and no COMMIT, imports this `connection` in the place of the usual one.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.prepared import Templates


@pytest.fixture
def connection(request: pytest.FixtureRequest, templates: Templates) -> Iterator[psycopg.Connection]:
    """The session, in a database that is filled if the test's file says with what (tests/support/prepared.py)."""
    session = templates.session_of(request)
    with session.transaction(force_rollback=True):
        yield session
        session.execute("set constraints all immediate")  # what would be checked by COMMIT
