"""A broken pipeline stops with a sentence; the others run on, nothing is lost, and mending it is enough."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, stale, waiting
from tests.support.embedders import Wrapped, only
from tests.support.sql import call, reason, state
from tests.support.waiting import eventually
from tests.support.worker import worker_thread


@dataclass(frozen=True)
class Damage:
    """A change of the table, its reversal, and the beginning of the reason."""

    done_by: str
    undone_by: str
    reason: str


DAMAGES = {
    "column renamed": Damage(
        "alter table documents rename body to contents",
        "alter table documents rename contents to body",
        'public.documents has no column "body" any more.',
    ),
    "embedding column of another type": Damage(
        "drop index documents_embedding_hnsw; alter table documents alter embedding type vector(384)",
        "alter table documents alter embedding type halfvec(384)",
        "public.documents.embedding is public.vector(384) now",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_table_that_was_altered_under_a_running_worker(
    database: Database, connection: psycopg.Connection, model: Session, damage: Damage
) -> None:
    make_documents(connection)
    make_documents(connection, "letters")
    with worker_thread(database, only(Wrapped(model))):
        insert(connection, [1])
        await_quiet(connection)
        with connection.transaction():
            insert(connection, [2, 3])
            connection.execute(damage.done_by)
        eventually(lambda: state(connection) == "stopped")
        assert reason(connection).startswith(damage.reason)
        insert(connection, [1, 2], table="letters")
        await_embedded(connection, [1, 2], table="letters")
        assert [(job.id, job.attempts) for job in waiting(connection)] == [(2, 0), (3, 0)]
        connection.execute(damage.undone_by)
        call(connection, "resume", pipeline="documents")
        await_quiet(connection)
    assert stale(connection, model) == []
    assert connection.execute("select from pgembedd.dead_letters").rowcount == 0


CHANGES = {
    "table renamed": ("alter table documents rename to papers", "papers"),
    "table moved": ("create schema app; alter table documents set schema app", "app.documents"),
    "wider key": ("alter table documents alter id type bigint", "documents"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_is_followed_under_a_running_worker(
    database: Database, connection: psycopg.Connection, model: Session, change: tuple[str, str]
) -> None:
    """Without an attempt of any job: the code is made again, and the jobs are worked."""
    ddl, table = change
    make_documents(connection)
    with worker_thread(database, only(Wrapped(model))):
        insert(connection, [1])
        await_quiet(connection)
        with connection.transaction():
            insert(connection, [2, 3])
            connection.execute(ddl.encode())
        if table == "documents":
            connection.execute("select pgembedd.sweep(); insert into documents values (3000000000, 'far')")
        await_quiet(connection)
        assert state(connection) == "running"
        connection.execute(f"update {table} set body = 'changed' where id = 1".encode())
        await_quiet(connection)
    assert stale(connection, model, table) == []
    assert connection.execute("select from pgembedd.dead_letters").rowcount == 0


@pytest.mark.slow
def test_code_that_cannot_be_made_again_for_the_moment(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """The worker goes on, no job is blamed, and it heals by itself. Here an event trigger stands in the way."""
    make_documents(connection, embedding_table="chunks")
    make_documents(connection, "letters")
    connection.execute(
        "create function refuse() returns event_trigger language plpgsql as "
        "'begin raise exception using message = ''not now''; end'; create event trigger hindrance "
        "on ddl_command_start when tag in ('CREATE FUNCTION') execute function refuse()"
    )
    with worker_thread(database, only(Wrapped(model))):
        with connection.transaction():
            insert(connection, [1])
            connection.execute("alter table documents rename to papers")
        eventually(lambda: [job.deferrals > 0 for job in waiting(connection)] == [True])
        insert(connection, [1, 2], table="letters")
        await_embedded(connection, [1, 2], table="letters")
        assert [(job.id, job.attempts) for job in waiting(connection)] == [(1, 0)]
        connection.execute("drop event trigger hindrance")
        await_quiet(connection)
    assert connection.execute("select from chunks").rowcount == 1
    assert connection.execute("select from pgembedd.dead_letters").rowcount == 0


@pytest.mark.slow
def test_a_table_that_was_dropped_under_a_running_worker(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    make_documents(connection, "letters")
    with worker_thread(database, only(Wrapped(model))):
        with connection.transaction():
            insert(connection, [1])
            connection.execute("drop table documents")
        eventually(lambda: state(connection) == "stopped")
        assert reason(connection).startswith("The table public.documents was dropped.")
        insert(connection, [1, 2], table="letters")
        await_embedded(connection, [1, 2], table="letters")
        call(connection, "drop_pipeline", pipeline="documents")
        await_quiet(connection)


@pytest.mark.slow
def test_a_pipeline_that_was_dropped_or_paused_under_a_running_worker(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    make_documents(connection, "letters")
    call(connection, "pause", pipeline="documents")
    with worker_thread(database, only(Wrapped(model))):
        insert(connection, [1])
        insert(connection, [1], table="letters")
        await_embedded(connection, [1], table="letters")
        assert [job.read_ct for job in waiting(connection)] == [0], "left where it is"
        call(connection, "resume", pipeline="documents")
        await_quiet(connection)
        with connection.transaction():
            insert(connection, [2])
            call(connection, "drop_pipeline", pipeline="documents")
        insert(connection, [2], table="letters")
        await_quiet(connection)
    assert stale(connection, model, "letters") == []
