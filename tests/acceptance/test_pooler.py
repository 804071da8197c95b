"""PgBouncer is found in transaction mode, which keeps no session; the worker works without one then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import psycopg
import pytest

from pgembedd.cli.process import check_database
from tests.faults import pgbouncer
from tests.faults.pgbouncer import Bouncer
from tests.support.databases import Database, open_directory
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import column, value
from tests.support.worker import WorkerProcess


@contextmanager
def pooled(roles: Roles, database: Database, mode: Literal["session", "transaction"]) -> Iterator[str]:
    """The connection string of a worker's role through a pooler. Skips the test without PgBouncer."""
    role = roles.make("worker")
    with database.connect() as connection:
        connection.execute("select pgembedd.grant_worker(%s)", [role])
    with open_directory() as folder:
        bouncer = Bouncer(pgbouncer.packages(), folder / "bouncer", database.conninfo, mode, [role])
        try:
            yield bouncer.route(conninfo_as(database, role))
        finally:
            bouncer.kill()


def test_only_a_pooler_in_transaction_mode_keeps_no_session(roles: Roles, database: Database) -> None:
    assert not check_database(database.conninfo, ())
    with pooled(roles, database, "session") as conninfo:
        assert not check_database(conninfo, ())
    with pooled(roles, database, "transaction") as conninfo:
        assert check_database(conninfo, ())


@pytest.mark.slow
def test_behind_a_pooler_in_transaction_mode_a_worker_polls(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection)
    with pooled(roles, database, "transaction") as conninfo, WorkerProcess(conninfo) as worker:
        worker.await_event("worker_started")
        insert(connection, range(3))
        await_quiet(connection)
        (found,) = worker.named("pooler_found")
        assert str(found["remedy"]).startswith("it keeps no session, so PGEMBEDD_WAIT=poll is used")
        listening = "select query from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
        assert column(connection, listening) == []
    assert value(connection, "select count(embedding) from documents") == 3
    assert value(connection, "select count(*) from pgembedd.failures") == 0
