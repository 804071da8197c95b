"""wait_for_pipeline(): until nothing is queued, and never for ever."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import create_pipeline, make_documents, work
from tests.support.waiting import eventually


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows that wait."""
    make_documents(connection, 2)
    create_pipeline(connection)


def test_it_returns_at_once_when_nothing_waits(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("call pgembedd.wait_for_pipeline('documents', '0 s')")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_it_returns_when_the_work_is_done(
    documents: psycopg.Connection, other: psycopg.Connection, isolation: str
) -> None:
    documents.execute(f"set default_transaction_isolation = '{isolation}'")
    waiting = threading.Thread(target=documents.execute, args=["call pgembedd.wait_for_pipeline('documents', '1 min')"])
    waiting.start()
    pid = documents.info.backend_pid
    asleep = "select wait_event = 'PgSleep' from pg_stat_activity where pid = %s"
    eventually(lambda: other.execute(asleep, [pid]).fetchall() == [(True,)])
    work(other)
    waiting.join()
    assert other.execute("select queued from pgembedd.status").fetchall() == [(0,)]


def test_it_gives_up(documents: psycopg.Connection) -> None:
    with refused('The pipeline "documents" still has 2 jobs waiting after 00:00:00.', "is a worker running?"):
        documents.execute("call pgembedd.wait_for_pipeline('documents', '0 s')")


PAUSED = "paused by postgres; call pgembedd.resume('documents') to go on"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "select pgembedd_internal.stop_pipeline(1, 'Broken.')",
            'The pipeline "documents" is stopped, with 2 jobs waiting: Broken.',
        ),
        (
            "select pgembedd.pause('documents')",
            f'The pipeline "documents" is paused, with 2 jobs waiting: {PAUSED}',
        ),
    ],
)
def test_it_does_not_wait_for_what_does_not_run(documents: psycopg.Connection, statement: str, message: str) -> None:
    documents.execute(statement)
    with refused(message):
        documents.execute("call pgembedd.wait_for_pipeline('documents', '1 min')")


def test_it_refuses_to_wait_for_rows_that_nobody_sees(documents: psycopg.Connection) -> None:
    with (
        refused(
            "A wait in a transaction that has written would never end: no worker sees its rows yet.", "COMMIT first."
        ),
        documents.transaction(),
    ):
        documents.execute("insert into documents values (5)")
        documents.execute("call pgembedd.wait_for_pipeline('documents', '1 min')")


def test_it_refuses_to_wait_inside_a_transaction(documents: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidTransactionTermination), documents.transaction():
        documents.execute("call pgembedd.wait_for_pipeline('documents', '1 min')")


def test_an_unknown_pipeline(documents: psycopg.Connection) -> None:
    with refused('There is no pipeline "nope".', "There are: documents."):
        documents.execute("call pgembedd.wait_for_pipeline('nope')")
