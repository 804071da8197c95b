"""Memory of a worker at work: its resident memory, sampled every second, while its queue is never empty.

Two real workers on their default settings, one at fp32 and one at int8, each on a database of its own, embed the
bench corpus over and over. Printed are the median of each minute, of the second and of the last quarter of the time
(the first is left out, since caches fill in it), and the peak.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

import psycopg
from psycopg import connect

from bench.corpus import load_corpus
from bench.pipeline import MODEL, make_table
from bench.report import Result, publish, versions
from bench.workers import Fleet, fleet, private_server

PRECISIONS = ("fp32", "int8")
TABLE = "plain"
AHEAD_ROWS = 500
"""Rows that are kept queued: enough for the second between two looks."""


class Subject:
    """One worker, what it is fed with, and its memory in MB, sample by sample."""

    def __init__(self, connection: psycopg.Connection, workers: Fleet, texts: Sequence[str]) -> None:
        self._connection, self._workers, self._texts = connection, workers, texts
        self._fed = 0
        self.megabytes: list[float] = []

    @property
    def done(self) -> int:
        """Rows embedded."""
        return self._workers.done

    def step(self) -> None:
        """Sample, and fill the queue up again. RuntimeError when the worker has ended or had nothing to do."""
        (worker,) = self._workers.members
        if worker.process.poll() is not None:
            raise RuntimeError("The worker has ended.")
        self.megabytes.append(worker.rss_bytes() / 1e6)
        if self._fed and self.done >= self._fed:
            raise RuntimeError("The worker had nothing to do for a while; keep more rows ahead of it.")
        lacking = self.done + AHEAD_ROWS - self._fed
        if lacking > 0:
            texts = [self._texts[(self._fed + i) % len(self._texts)] for i in range(lacking)]
            self._connection.execute(f"insert into {TABLE} (body) select unnest(%s::text[])".encode(), (texts,))
            self._fed += lacking


def soak(minutes: float) -> dict[str, Subject]:
    """Both workers at work for so long."""
    texts = load_corpus().texts
    with ExitStack() as stack:
        subjects = {}
        for precision in PRECISIONS:
            server = stack.enter_context(private_server())
            connection = stack.enter_context(connect(server.conninfo(), autocommit=True))
            make_table(connection, TABLE, MODEL, index=False)
            workers = stack.enter_context(fleet(server.conninfo(), PGEMBEDD_PRECISION=precision))
            subjects[precision] = Subject(connection, workers, texts)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            for subject in subjects.values():
                subject.step()
            time.sleep(1)
        return subjects


def results(precision: str, megabytes: Sequence[float], minutes: float) -> list[Result]:
    """Medians of the minutes and quarters with the lowest and highest sample, and the peak."""
    quarter = len(megabytes) // 4
    a_minute = len(megabytes) / minutes
    spans = {
        f"after {number} minutes": megabytes[round((number - 1) * a_minute) : round(number * a_minute)]
        for number in range(1, int(minutes) + 1)
    }
    spans |= {"second quarter": megabytes[quarter : 2 * quarter], "last quarter": megabytes[-quarter:]}
    found = [
        Result("soak", f"{precision}, {name}", statistics.median(span), "MB", (min(span), max(span)), None, None)
        for name, span in spans.items()
    ]
    peak = max(megabytes)
    return [*found, Result("soak", f"{precision}, peak", peak, "MB", (peak, peak), None, None)]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; 1 or more")
    options = parser.parse_args()
    if options.minutes < 1:
        parser.error("less than a minute says nothing; give --minutes 1 or more")
    subjects = soak(options.minutes)
    found = [
        line for precision in PRECISIONS for line in results(precision, subjects[precision].megabytes, options.minutes)
    ]
    used = versions("pgembedd", "psycopg", "onnxruntime", "tokenizers")
    used |= {f"rows embedded, {precision}": str(subject.done) for precision, subject in subjects.items()}
    publish(found, used, as_json=options.json)


if __name__ == "__main__":
    main()
