"""Fresh writes do not wait behind a backfill, and the backfill does not wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.model import Kind, Session
from pgembedd.model.pooling import Float32Array
from tests.support.databases import Database
from tests.support.documents import (
    await_embedded,
    await_quiet,
    backends,
    insert,
    make_documents,
    missing,
    stale,
    waiting,
)
from tests.support.embedders import MODEL, Gate, Wrapped, only
from tests.support.sql import BACKFILL, FRESH, call, let_leases_run_out, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread


class HeldBetweenTexts(Session):
    """The real model, with one difference for tests: a run of texts waits for `go`, if it is set, before it computes.

    So a claim of many texts can be held in the midst of them, as by a text that takes for ever.
    """

    hold: Callable[[list[list[int]]], None] | None = None

    def _vectors(self, encoded: list[list[int]], kind: Kind) -> Float32Array:
        if self.hold is not None:
            self.hold(encoded)
        return super()._vectors(encoded, kind)


@pytest.fixture
def held() -> Iterator[HeldBetweenTexts]:
    with HeldBetweenTexts(MODEL, threads=1, offline=True) as session:
        yield session


def bulk(connection: psycopg.Connection, table: str = "documents") -> None:
    """So many rows that they go to the backfill lane."""
    insert(connection, range(100, 1101), table, text="bulk")


def leave(connection: psycopg.Connection, until: int, table: str = "documents") -> None:
    """No more of the backfill than the rows before that: to embed the others takes long and shows nothing more."""
    connection.execute("delete from pgmq.q_pgembedd_backfill where (message ->> 'id')::int >= %s", [until])
    connection.execute(f"delete from {table} where id >= {until}")


def in_flight(connection: psycopg.Connection, lane: str) -> int:
    """The number of messages of a lane that are claimed."""
    return int(value(connection, f"select count(*) from pgmq.q_{lane} where vt > clock_timestamp()"))


@pytest.mark.slow
def test_a_fresh_row_passes_a_backfill_claim_that_is_in_the_model(
    database: Database, connection: psycopg.Connection, held: HeldBetweenTexts
) -> None:
    """The backfill has both its claims in flight, one of them half computed, and the model has one thread."""
    make_documents(connection)
    # Lengths of their own, since texts of equal length go through the model in one run.
    connection.execute("insert into documents select i, repeat('bulk ', 1 + i % 8) from generate_series(100, 1100) i")
    runs, texts = list[int](), threading.Semaphore(0)

    def hold(encoded: list[list[int]]) -> None:
        runs.append(len(encoded))
        assert texts.acquire(timeout=PATIENCE_S)

    held.hold = hold
    with worker_thread(database, only(held), claim_size=8):
        eventually(lambda: runs and in_flight(connection, BACKFILL) == 16)
        insert(connection, [1], text="fresh")
        eventually(lambda: len(runs) == 2)  # one of the backfill's, and the fresh one
        texts.release(7)  # fewer than the runs of a claim, whichever thread takes them
        await_embedded(connection, [1])
        assert in_flight(connection, BACKFILL) == 16, "no backfill claim was finished meanwhile"
        texts.release(2000)


# Waits until it gets a lock, for longer than any lock_timeout.
WAIT = "while not pg_try_advisory_xact_lock_shared(1) loop perform pg_sleep(0.01); end loop;"


@pytest.mark.parametrize("stage", ["read", "store"])
def test_a_fresh_row_waits_for_no_read_and_no_store_of_a_backfill(
    database: Database, connection: psycopg.Connection, model: Session, stage: str
) -> None:
    """The content function, or a trigger, of the other pipeline takes for ever."""
    make_documents(connection)
    connection.execute(
        f"create table slow (id int primary key, body text); create function slow_content(slow) returns text "
        f"language plpgsql stable as $$ begin {WAIT} return 'slow'; end $$; "
        f"create function slow_store() returns trigger language plpgsql as $$ begin {WAIT} return new; end $$"
    )
    content = {"content_function": "slow_content"} if stage == "read" else {"content_columns": ["body"]}
    call(connection, "create_pipeline", pipeline="slow", source="slow", model=MODEL, **content)
    if stage == "store":
        connection.execute("create trigger slow before update on slow for each row execute function slow_store()")
    bulk(connection, "slow")
    with database.connect() as user:
        user.execute("select pg_advisory_lock(1)")
        with worker_thread(database, only(model), claim_size=8):
            eventually(
                lambda: (
                    backends(connection, f"wait_event = 'PgSleep' and query like '%pgembedd_internal.{stage}%'") == 1
                )
            )
            insert(connection, [1], text="fresh")
            await_embedded(connection, [1])
            assert missing(connection, "slow") == list(range(100, 1101))
            user.execute("select pg_advisory_unlock(1)")
            await_embedded(connection, [100], table="slow")
            connection.execute("truncate pgmq.q_pgembedd_backfill")


@pytest.mark.slow
def test_a_suspect_is_alone_in_both_lanes(database: Database, connection: psycopg.Connection, model: Session) -> None:
    """It waits for the backfill's claims that are in the model, and these are followed by none before it has ended."""
    make_documents(connection)
    bulk(connection)
    leave(connection, 200)
    gate, beside = Gate(), list[int]()

    def check(texts: Sequence[str]) -> None:
        if texts[0].startswith("suspect"):
            beside.append(len(worker._in_flight._started))
        else:
            gate(texts)

    with worker_thread(database, only(Wrapped(model, on_result=check)), claim_size=8) as worker:
        assert gate.reached.wait(PATIENCE_S)
        with connection.transaction():
            insert(connection, [1, 2], text="suspect")
            connection.execute("update pgmq.q_pgembedd_fresh set read_ct = 2")
        eventually(lambda: len(worker._in_flight._suspects) == 1)
        gate.open()
        await_embedded(connection, [1, 2])
        await_quiet(connection)
    assert beside == [0, 0]
    assert stale(connection, model) == []


def test_a_bulk_load_goes_to_the_backfill_lane(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """So a fresh write that comes after it is embedded long before its end."""
    make_documents(connection)
    bulk(connection)
    embedded: list[str] = []
    begun, done = threading.Event(), threading.Event()

    def hold_at_half(texts: Sequence[str]) -> None:
        embedded.extend(texts)
        begun.set()
        assert len(embedded) < 500 or done.wait(PATIENCE_S), "the fresh one is not done"

    with worker_thread(database, only(Wrapped(model, on_result=hold_at_half)), claim_size=8):
        assert begun.wait(PATIENCE_S)
        insert(connection, [1], text="fresh")
        await_embedded(connection, [1])
        assert len(missing(connection)) > 500
        connection.execute("truncate pgmq.q_pgembedd_backfill")
        done.set()


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_row_of_another_table_does_not_wait_for_a_locked_one(
    database: Database, connection: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    """Rows of the other one come one by one, so that nothing else than those of the locked one is due meanwhile."""
    make_documents(connection, "locked")
    make_documents(connection, "other")
    insert(connection, range(40), table="locked")
    connection.execute(f"update pgmq.q_{FRESH} set vt = vt + interval '1 hour'")  # due only once it is locked
    rows = 0

    def in_vain() -> int:
        return sum(event["event"] == "released" and "LockNotAvailable" in event["why"] for event in log)

    with database.connect(autocommit=False) as user, worker_thread(database, only(Wrapped(model))):
        insert(connection, [0], table="other")  # one that is alone is not left out
        await_embedded(connection, [0], table="other")
        user.execute("lock table locked in share mode")  # as `create index` does: it is read, and not written
        let_leases_run_out(connection)
        while in_vain() < 3:
            insert(connection, [rows := rows + 1], table="other")
            await_embedded(connection, [rows], table="other")
        user.rollback()
        await_embedded(connection, range(40), table="locked")
    assert rows > 4, "a claim in vain for each row of the other one"


@pytest.mark.slow
def test_a_worker_for_some_of_the_pipelines(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    make_documents(connection, "letters")
    insert(connection, range(1, 4))
    insert(connection, range(1, 4), table="letters")
    with worker_thread(database, only(Wrapped(model)), pipelines=("letters",)):
        await_embedded(connection, [1, 2, 3], table="letters")
        insert(connection, range(4, 1200), table="letters")  # its backfill belongs to it
        await_embedded(connection, range(4, 12), table="letters")
        leave(connection, 300, "letters")
    assert missing(connection) == [1, 2, 3]
    assert {job.read_ct for job in waiting(connection) if job.pipeline == 1} == {0}
    with worker_thread(database, only(Wrapped(model)), claim_size=256):
        await_embedded(connection, [1, 2, 3])
        await_embedded(connection, range(1, 300), table="letters")


def test_a_pipeline_that_comes_later_is_served_from_then_on(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    with worker_thread(database, only(Wrapped(model)), pipelines=("letters",)):
        make_documents(connection, "letters")
        insert(connection, range(3), table="letters")
        await_embedded(connection, range(3), table="letters")


def test_a_backfill_that_is_not_queued_whole_goes_on(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    insert(connection, range(1, 301))
    connection.execute(f"delete from pgmq.q_{FRESH}")
    connection.execute(f"delete from pgmq.q_{BACKFILL}")
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope) select id, 'lacking' "
        "from pgembedd_internal.pipeline"
    )
    with worker_thread(database, only(Wrapped(model)), claim_size=100):
        eventually(lambda: not missing(connection))
        await_quiet(connection)
    assert value(connection, "select count(*) from pgembedd_internal.open_backfill") == 0
    assert value(connection, "select sum(written) from pgembedd_internal.activity") == 300


def test_claimed_rows_do_not_wait_while_more_of_a_backfill_is_looked_for(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """They would be held without the heartbeat, and their leases would run out."""
    make_documents(connection)
    insert(connection, range(1, 4))
    connection.execute(f"insert into pgmq.q_{BACKFILL} (vt, message) select vt, message from pgmq.q_{FRESH}")
    connection.execute(f"delete from pgmq.q_{FRESH}")
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope) select id, 'lacking' "
        "from pgembedd_internal.pipeline; create table looked (rows_without_vector int)"
    )
    connection.execute("""
        create or replace function pgembedd_internal.continue_backfill(pipeline_id integer) returns bigint
        language plpgsql as $$
        begin
            for i in 1 .. 300 loop
                exit when not exists (select from public.documents d where d.embedding is null);
                perform pg_sleep(0.1);
            end loop;
            insert into public.looked select count(*) from public.documents d where d.embedding is null;
            delete from pgembedd_internal.open_backfill;
            return 0;
        end $$""")
    with worker_thread(database, only(Wrapped(model)), claim_size=100):
        eventually(lambda: value(connection, "select count(*) from looked") > 0)
    assert value(connection, "select max(rows_without_vector) from looked") == 0
