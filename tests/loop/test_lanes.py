"""Fresh writes do not wait behind a backfill, and the backfill does not wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import BACKFILL, FRESH, call
from tests.support.waiting import PATIENCE_S
from tests.support.worker import worker_thread


def test_fresh_writes_are_done_before_a_backfill_is(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, range(100, 180), text="old")
    connection.execute("delete from pgmq.q_pgembedd_jobs")
    assert call(connection, "backfill", name="documents") == 80
    insert(connection, range(48), text="fresh")
    assert [len(waiting(connection, [lane])) for lane in (FRESH, BACKFILL)] == [48, 80]
    claims: list[str] = []

    def note(texts: Sequence[str]) -> None:
        (lane,) = {text.split()[0] for text in texts}
        claims.append(lane)

    with worker_thread(database, only(Wrapped(model, on_start=note)), claim_size=8):
        await_quiet(connection)
    assert sorted(claims) == ["fresh"] * 6 + ["old"] * 10
    assert claims[0] == "fresh"
    assert claims[-2:] == ["old", "old"]
    assert missing(connection) == []


def test_a_bulk_load_goes_to_the_backfill_lane(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """So a fresh write that comes after it is embedded long before its end."""
    make_documents(connection)
    insert(connection, range(10, 1011), text="bulk")
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), claim_size=8):
        assert gate.reached.wait(PATIENCE_S)
        insert(connection, [1], text="fresh")
        gate.open()
        await_embedded(connection, [1])
        assert len(missing(connection)) > 500


def test_a_small_pipeline_is_done_before_a_long_one_is_half_through(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """In both lanes: 5,000 rows of one pipeline do not hold up 20 of another behind them."""
    make_documents(connection, "long")
    make_documents(connection, "short")
    insert(connection, range(5000), table="long", text="long")
    connection.execute("insert into short (id, body) select i, 'old ' || i from generate_series(1, 1001) i")
    connection.execute(
        "delete from pgmq.q_pgembedd_backfill where message -> 'id' > '20' and message ->> 'pipeline' = '2'"
    )
    connection.execute("insert into short (id, body) values (2000, 'fresh'), (2001, 'fresh')")
    wanted = [*range(1, 21), 2000, 2001]
    assert [len(waiting(connection, [lane])) for lane in (FRESH, BACKFILL)] == [2, 5020]
    embedded: list[str] = []
    done = threading.Event()

    def hold_at_half(texts: Sequence[str]) -> None:
        embedded.extend(texts)
        assert len(embedded) < 2500 or done.wait(60), "the short one is not done"

    with worker_thread(database, only(Wrapped(model, on_result=hold_at_half)), claim_size=64):
        await_embedded(connection, wanted, table="short")
        connection.execute("truncate pgmq.q_pgembedd_backfill")
        done.set()
    assert len(embedded) < 2500


def test_a_worker_for_some_of_the_pipelines(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    make_documents(connection, "letters")
    insert(connection, range(1, 4))
    insert(connection, range(1, 4), table="letters")
    with worker_thread(database, only(Wrapped(model)), pipelines=("letters",)):
        await_embedded(connection, [1, 2, 3], table="letters")
        insert(connection, range(4, 1200), table="letters")  # its backfill belongs to it
        await_embedded(connection, range(4, 12), table="letters")
    assert missing(connection) == [1, 2, 3]
    assert {job.read_ct for job in waiting(connection) if job.pipeline == 1} == {0}
    with worker_thread(database, only(Wrapped(model)), claim_size=256):
        await_embedded(connection, [1, 2, 3])
        await_embedded(connection, range(1200), table="letters")


def test_a_pipeline_that_comes_later_is_served_from_then_on(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    with worker_thread(database, only(Wrapped(model)), pipelines=("letters",)):
        make_documents(connection, "letters")
        insert(connection, range(3), table="letters")
        await_embedded(connection, range(3), table="letters")
