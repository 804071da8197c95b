"""A writer never waits for the worker, nor the worker for a writer; and no stale vector survives a change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import (
    await_quiet,
    backends,
    insert,
    make_documents,
    missing,
    stale,
    waiting,
)
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

UNGRANTED = "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.pid <> %s"


@pytest.mark.slow
def test_rows_that_a_user_holds_are_left_for_later(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, range(1, 9))
    with database.connect(autocommit=False) as user:
        user.execute("select from documents where id in (2, 5) for update")
        with worker_thread(database, only(Wrapped(model))):

            def come_back_to_often() -> bool:
                assert value(connection, UNGRANTED, connection.info.backend_pid) == 0, "a session waits for a lock"
                return [(job.id, job.deferrals >= 3) for job in waiting(connection)] == [(2, True), (5, True)]

            eventually(come_back_to_often)
            assert missing(connection) == [2, 5]
            assert [(job.id, job.attempts) for job in waiting(connection)] == [(2, 0), (5, 0)]
            user.execute("update documents set body = 'another ' || id where id = 2")
            user.commit()
            await_quiet(connection)
    assert stale(connection, model) == []
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


def test_a_writer_changes_rows_that_the_worker_is_embedding(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """Nothing of the worker's is open while the model runs: no transaction, no lock, no snapshot."""
    make_documents(connection)
    insert(connection, range(1, 9))
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate))):
        assert gate.reached.wait(PATIENCE_S)
        eventually(lambda: backends(connection, "xact_start is not null") == 0)
        assert backends(connection) >= 1
        connection.execute("set lock_timeout = '1min'")
        connection.execute("alter table documents add column other int")  # would wait for any lock on the table
        gate.open()
        await_quiet(connection)
    assert stale(connection, model) == []


def once(change: Callable[[], object]) -> Callable[[Sequence[str]], None]:
    """A hook that makes the change while the first texts are in the model."""
    done = threading.Event()

    def hook(texts: Sequence[str]) -> None:
        if not done.is_set():
            done.set()
            change()

    return hook


CHANGES = {
    "changed": (["update documents set body = 'something else entirely' where id = 2"], {"written": 2, "changed": 1}),
    "changed and changed back": (
        ["update documents set body = 'B' where id = 2", "update documents set body = 'text 2' where id = 2"],
        {"written": 3},
    ),
    "deleted": (["delete from documents where id = 2"], {"written": 2, "gone": 1}),
    "deleted and inserted": (
        ["delete from documents where id = 2", "insert into documents values (2, 'a new one')"],
        {"written": 2, "changed": 1},
    ),
    "emptied": (["update documents set body = ' ' where id = 2"], {"written": 2, "changed": 1}),
}


@pytest.mark.parametrize(("statements", "outcome"), CHANGES.values(), ids=CHANGES)
def test_a_row_that_changes_while_it_is_embedded(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    log: list[EventDict],
    statements: list[str],
    outcome: dict[str, int],
) -> None:
    make_documents(connection)
    insert(connection, range(1, 4))
    change = once(lambda: [connection.execute(statement) for statement in statements])
    with database.connect() as observer, worker_thread(database, only(Wrapped(model, on_result=change))):
        await_quiet(observer)
        assert stale(observer, model) == [row for row in missing(observer) if statements == CHANGES["emptied"][0]]
    first = next(event for event in log if event["event"] == "stored")
    assert {name: first.get(name, 0) for name in outcome} == outcome
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


@pytest.mark.slow
def test_a_table_that_is_being_altered_is_contention(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    """ACCESS EXCLUSIVE for longer than the worker waits: given back, and no attempt."""
    make_documents(connection)
    insert(connection, range(1, 4))
    with database.connect(autocommit=False) as user:
        user.execute("alter table documents add column other int")
        with database.connect() as observer, worker_thread(database, only(Wrapped(model))):
            eventually(lambda: all(job.deferrals and not job.unrecorded for job in waiting(observer)))
            assert [job.attempts for job in waiting(observer)] == [0] * 3
            user.commit()
            await_quiet(observer)
    assert stale(connection, model) == []
    assert {event["why"] for event in log if event["event"] == "released"} == {"content: LockNotAvailable"}
