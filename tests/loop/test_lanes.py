"""Fresh writes do not wait behind a backfill, and the backfill does not wait for ever."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import BACKFILL, FRESH, call
from tests.support.worker import worker_thread
from worker.model import Session


def test_three_claims_of_fresh_writes_for_one_of_a_backfill(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, range(100, 180), text="old")
    connection.execute("delete from pgmq.q_embedding_jobs")
    assert call(connection, "backfill", name="documents") == 80
    insert(connection, range(48), text="fresh")
    assert [len(waiting(connection, [lane])) for lane in (FRESH, BACKFILL)] == [48, 80]
    claims: list[str] = []

    def note(texts: Sequence[str]) -> None:
        (lane,) = {text.split()[0] for text in texts}
        claims.append(lane)

    with worker_thread(database, only(Wrapped(model, on_start=note)), claim_size=8):
        await_quiet(connection)
    assert claims == ["fresh", "fresh", "fresh", "old"] * 2 + ["old"] * 8
    assert missing(connection) == []


def test_a_bulk_load_goes_to_the_backfill_lane(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """So a fresh write that comes after it is embedded long before its end."""
    make_documents(connection)
    insert(connection, range(10, 1011), text="bulk")
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), claim_size=8):
        assert gate.reached.wait(30)
        insert(connection, [1], text="fresh")
        gate.open()
        await_embedded(connection, [1])
        assert len(missing(connection)) > 500


def test_queues_of_their_own_and_a_worker_for_one_of_them(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    make_documents(connection, "letters", queue="letters")
    insert(connection, range(1, 4))
    insert(connection, range(1, 4), table="letters")
    with worker_thread(database, only(Wrapped(model)), queues=("letters",)):
        await_embedded(connection, [1, 2, 3], table="letters")
        insert(connection, range(4, 1200), table="letters")  # its backfill lane belongs to it
        await_embedded(connection, range(4, 12), table="letters")
    assert missing(connection) == [1, 2, 3]
    assert {job.read_ct for job in waiting(connection)} == {0}
    with worker_thread(database, only(Wrapped(model)), claim_size=256):
        await_embedded(connection, [1, 2, 3])
        await_embedded(connection, range(1200), table="letters")
