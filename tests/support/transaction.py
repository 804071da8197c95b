"""One session for the tests of a file, each in a transaction that is rolled back.

Most of what a test of SQL takes is a database, a connection and what its functions have to compile, again in each. A
file whose tests mostly need one session and no COMMIT imports this `connection` in the place of the usual one. A
statement that fails undoes itself alone, as it does without a transaction, and the sequences start again. Tests that
ask for `database` or `other`, or are marked `own_database`, have a database and a session of their own as usual: so
must what tells transactions apart (when a table was altered), counts what a session heard, looks at plans, or cannot
run in a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.support.prepared import Templates
from tests.support.sql import connected


@pytest.fixture
def connection(request: pytest.FixtureRequest, templates: Templates) -> Iterator[psycopg.Connection]:
    """The superuser, in a database that is filled if the test's file says with what (tests/support/prepared.py)."""
    if request.node.get_closest_marker("own_database") or {"database", "other"} & set(request.fixturenames):
        with connected(request.getfixturevalue("database")) as own:
            yield own
        return
    session = templates.session_of(request)
    with session.transaction(force_rollback=True):
        yield session
        if session.info.transaction_status == TransactionStatus.INTRANS:  # not after a refusal
            session.execute("set constraints all immediate")  # what would be checked by COMMIT
