"""Finds out whether a pooler gives each transaction another session of the server."""

from collections.abc import Callable

import psycopg

from pgembedd.database.queries import query

TRIES = 5


def changes_sessions(connection: psycopg.Connection, connect: Callable[[], psycopg.Connection]) -> bool:
    """Returns True where nothing that is set for a session lasts: behind a pooler in transaction mode.

    A pooler names a process of its own as the connection is opened. In transaction mode it then gives the session that
    one client has just left to the next transaction of another, which is what `connect` is for. Both connections are
    left without a transaction.
    """
    if _process(connection) == connection.info.backend_pid:
        return False
    with connect() as other:
        for _ in range(TRIES):
            mine, others = _process(connection), _process(other, hold=True)
            if mine == others or mine != _process(connection):
                return True
            other.rollback()
    return False


def _process(connection: psycopg.Connection, *, hold: bool = False) -> int:
    """Returns the number of the server's process; with `hold` the transaction goes on, and keeps it."""
    row = connection.execute(query("process")).fetchone()
    if not hold:
        connection.rollback()
    assert row is not None
    return int(row[0])
