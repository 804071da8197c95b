"""A model that no worker can have: noted with its reason, shown wherever one looks, and forgotten once it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.database.queries import query
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.presence import beat
from tests.support.sql import FRESH, call, create_pipeline, make_documents, rows, value
from tests.support.transaction import connection
from tests.support.waiting import eventually

__all__ = ["connection"]

REASON = "gte-small could not be fetched (no network); check the network."


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows that wait in the pipeline `documents`."""
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'a'), (2, 'b')")


@pytest.fixture
def worker(database: Database) -> Iterator[psycopg.Connection]:
    """The session of another worker."""
    with database.connect() as connection:
        beat(connection)
        yield connection


def note(connection: psycopg.Connection, reason: str = REASON, *, tried: bool = True) -> None:
    """What a worker does that cannot have the model."""
    connection.execute(query("note_unserved"), {"pipeline_id": 1, "reason": reason, "tried": tried, "worker": None})


def take_back(connection: psycopg.Connection, *, loaded: bool = True) -> None:
    """What a worker does that has it, or is about to load it."""
    connection.execute(query("note_served"), {"pipeline_id": 1, "loaded": loaded, "worker": None})


def shown(connection: psycopg.Connection) -> tuple[str, str | None]:
    ((state, reason),) = rows(connection, "select state, reason from pgembedd.status")
    return state, reason


def events(ear: psycopg.Connection) -> list[tuple[str, str | None, str | None]]:
    """The events since the last time: word, model, reason."""
    ear.execute("select 1")
    told = [json.loads(notice.payload) for notice in ear.notifies(timeout=0)]
    return [(event["event"], event.get("model"), event.get("reason")) for event in told]


def pass_time(connection: psycopg.Connection, seconds: float) -> None:
    """Moves the note into the past."""
    connection.execute(
        "update pgembedd_internal.pipeline set unserved_since = unserved_since - make_interval(secs => %(s)s),"
        " unserved_at = unserved_at - make_interval(secs => %(s)s)",
        {"s": seconds},
    )


def test_the_note_of_the_only_worker_is_shown_at_once(documents: psycopg.Connection) -> None:
    note(documents)
    assert shown(documents) == ("unserved", REASON)
    assert rows(documents, "select state, reason from pgembedd.status") == [("unserved", REASON)]
    assert rows(documents, "select state from pgembedd.metrics()") == [("unserved",)]
    assert value(documents, "select state from pgembedd_internal.pipeline") == "running", "another worker may serve it"
    take_back(documents)
    assert shown(documents) == ("running", None)


def test_another_worker_has_three_seconds_to_take_it_back(
    documents: psycopg.Connection, worker: psycopg.Connection, other: psycopg.Connection
) -> None:
    other.execute("listen pgembedd_events")
    note(documents)
    assert shown(documents) == ("running", None)
    take_back(worker)
    pass_time(documents, 4)
    assert shown(documents) == ("running", None)
    assert events(other) == [], "nothing that was shown"
    note(documents)
    pass_time(documents, 4)
    assert shown(documents) == ("unserved", REASON)
    note(documents)
    assert events(other) == [("unserved", "gte-small", REASON)]


def test_a_note_is_told_once_and_its_end_is(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    other.execute("listen pgembedd_events")
    for _ in range(3):
        note(documents)
        pass_time(documents, 40)
    note(documents, "Its file is damaged.")
    assert shown(documents) == ("unserved", "Its file is damaged.")
    take_back(documents)
    take_back(documents)
    assert events(other) == [("unserved", "gte-small", REASON), ("served", "gte-small", None)]


def test_a_note_is_written_again_only_when_it_says_something_new(documents: psycopg.Connection) -> None:
    def version() -> int:
        return int(value(documents, "select xmin::text from pgembedd_internal.pipeline"))

    note(documents)
    first = version()
    note(documents)
    assert version() == first
    pass_time(documents, 40)
    moved = version()
    note(documents)
    assert version() != moved, "as it would be forgotten"


def test_a_note_that_no_worker_repeats_is_not_believed(documents: psycopg.Connection) -> None:
    note(documents)
    pass_time(documents, 301)
    assert shown(documents) == ("running", None)


def test_the_next_worker_does_not_believe_the_note_of_one_that_is_gone(
    documents: psycopg.Connection, database: Database, other: psycopg.Connection
) -> None:
    note(documents)
    with database.connect() as gone:
        beat(gone)
        take_back(documents, loaded=False)
        assert shown(documents) == ("unserved", REASON), "that one may know better"
    eventually(lambda: not value(documents, "select pgembedd_internal._other_workers(null)"))
    other.execute("listen pgembedd_events")
    take_back(documents, loaded=False)
    assert shown(documents) == ("running", None)
    assert events(other) == [], "it is not served yet"


@pytest.mark.parametrize("first_tried", [True, False])
def test_the_reason_of_a_worker_that_tried_stands(
    documents: psycopg.Connection, worker: psycopg.Connection, first_tried: bool
) -> None:
    """Two workers note in turns, each as often as workers do."""
    known = False
    for tried in (first_tried, not first_tried) * 3:
        note(*((worker,) if tried else (documents, "It is not enabled here.")), tried=tried)
        pass_time(documents, 50)
        known = known or tried
        assert shown(documents) == ("unserved", REASON if known else "It is not enabled here.")
    pass_time(documents, 181)
    note(documents, "It is not enabled here.", tried=False)
    assert shown(documents) == ("unserved", "It is not enabled here."), "the one that tried is silent"


def test_the_only_worker_says_what_holds_for_it(documents: psycopg.Connection) -> None:
    note(documents)
    note(documents, "It is not enabled here.", tried=False)
    assert shown(documents) == ("unserved", "It is not enabled here.")


def test_a_note_waits_for_no_transaction(documents: psycopg.Connection, database: Database) -> None:
    with database.connect(autocommit=False) as user:
        user.execute("select pgembedd.pause('documents')")
        documents.execute("set statement_timeout = '10 s'")
        note(documents)
        take_back(documents)
        user.rollback()
    assert shown(documents) == ("running", None)


def test_only_what_runs_is_unserved(documents: psycopg.Connection) -> None:
    note(documents)
    call(documents, "pause", pipeline="documents")
    assert shown(documents)[0] == "paused"
    call(documents, "resume", pipeline="documents")
    assert shown(documents) == ("running", None), "until a worker tells again"


@pytest.mark.own_database
@pytest.mark.parametrize(
    "wait", ["call pgembedd.wait_for_pipeline('documents')", "call pgembedd.wait_for_row('documents', '1', '1 h')"]
)
def test_waiting_for_it_quotes_the_note_at_once(documents: psycopg.Connection, wait: str) -> None:
    note(documents)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r"unserved.*gte-small could not be fetched"):
        documents.execute(wait)


def test_jobs_of_what_a_worker_cannot_serve_are_not_due_for_it(documents: psycopg.Connection) -> None:
    due = {"names": None, "poll_s": 0, "queue": None, "idle": False, "task": "embed"}
    assert documents.execute(query("due"), due | {"unserved": [2]}).fetchall() == [(1, FRESH)]
    assert documents.execute(query("due"), due | {"unserved": [1]}).fetchall() == []
