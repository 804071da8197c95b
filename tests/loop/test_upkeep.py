"""The sweep finds rows that were not queued: one worker at a time, on the worker's own timer."""

from __future__ import annotations

import threading

import psycopg
import pytest

from pgembedd.database.connection import Connection
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.sessions import Sessions
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_embedded, insert, make_documents, stale, waiting
from tests.support.embedders import Wrapped, only
from tests.support.sql import value
from tests.support.waiting import eventually
from tests.support.worker import worker_thread

DUE = "update pgembedd_internal.installation set swept_at = '-infinity'"


def insert_unseen(connection: psycopg.Connection, keys: list[int]) -> None:
    """Rows that no trigger sees."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        insert(connection, keys)


@pytest.mark.slow
def test_a_worker_finds_rows_that_nobody_queued(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert_unseen(connection, [1, 2, 3])
    assert waiting(connection) == []
    connection.execute(DUE)
    with worker_thread(database, only(Wrapped(model)), sweep_every_s=1.0):
        await_embedded(connection, [1, 2, 3])
        insert_unseen(connection, [4])  # and again, when it is due again
        await_embedded(connection, [4])
    assert stale(connection, model) == []


def test_one_at_a_time(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    insert_unseen(connection, [1, 2, 3])
    connection.execute(DUE)
    upkeep = Connection(Sessions(database.conninfo, "upkeep"), threading.Event())
    pipelines = PipelineRepository(upkeep)
    with database.connect(autocommit=False) as other:
        other.execute("select from pgembedd_internal.installation for update")
        assert pipelines.maintain(60) is None, "another worker runs it"
        assert waiting(connection) == []
    assert pipelines.maintain(60) == 3
    assert pipelines.maintain(60) is None, "it is not due"
    assert [job.id for job in waiting(connection)] == [1, 2, 3]
    upkeep.close()


@pytest.mark.slow
def test_an_upkeep_that_fails_ends_no_worker(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    connection.execute("create schema aside; alter function pgembedd.retention() set schema aside")
    connection.execute("update pgembedd_internal.installation set retained_at = '-infinity'")
    with worker_thread(database, only(Wrapped(model)), sweep_every_s=1.0):
        insert(connection, [1])
        await_embedded(connection, [1])
        connection.execute("alter function aside.retention() set schema pgembedd")
        eventually(lambda: value(connection, "select retained_at > '-infinity' from pgembedd_internal.installation"))
