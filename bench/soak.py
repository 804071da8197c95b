"""Memory of a worker at work: its resident memory, sampled every second, while its queue is never empty.

Two real workers on their default settings, one at fp32 and one at int8, each on a database of its own, embed the
bench corpus over and over. Printed are the median of each minute, of the second and of the last quarter of the time
(the first is left out, since caches fill in it), and the peak.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.corpus import load_corpus
from bench.pipeline import MODEL, make_table
from bench.report import Result, compare, parser, publish, versions
from bench.workers import Fleet, database, fleet

PRECISIONS = ("fp32", "int8")
AHEAD_ROWS = 500
"""Rows that are kept queued: enough for the second between two looks."""


Subjects = dict[str, tuple[Fleet, list[float]]]
"""By precision a worker, and its memory in MB, sample by sample."""


def soak(minutes: float) -> Subjects:
    """Both workers at work for so long. RuntimeError when one has ended, or had nothing to do."""
    texts, subjects = load_corpus().texts, Subjects()
    with ExitStack() as stack:
        connections = {}
        for precision in PRECISIONS:
            connections[precision], conninfo = stack.enter_context(database())
            make_table(connections[precision], "plain", MODEL, index=False)
            subjects[precision] = (stack.enter_context(fleet(conninfo, PGEMBEDD_PRECISION=precision)), [])
        fed = dict.fromkeys(PRECISIONS, 0)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            for precision, (workers, megabytes) in subjects.items():
                megabytes.append(workers.members[0].rss_bytes() / 1e6)
                workers.await_done(0)  # fails when it has ended
                if 0 < fed[precision] <= workers.done:
                    raise RuntimeError("The worker had nothing to do for a while; keep more rows ahead of it.")
                upto = workers.done + AHEAD_ROWS
                more = [texts[number % len(texts)] for number in range(fed[precision], upto)]
                connections[precision].execute("insert into plain (body) select unnest(%s::text[])", (more,))
                fed[precision] = max(upto, fed[precision])
            time.sleep(1)
    return subjects


def results(precision: str, megabytes: Sequence[float], minutes: float) -> list[Result]:
    """Medians of the minutes and quarters with the lowest and highest sample, and the peak."""
    quarter, a_minute = len(megabytes) // 4, len(megabytes) / minutes
    spans = {
        f"{precision}, after {number} minutes": megabytes[round((number - 1) * a_minute) : round(number * a_minute)]
        for number in range(1, int(minutes) + 1)
    }
    spans[f"{precision}, second quarter"] = megabytes[quarter : 2 * quarter]
    spans[f"{precision}, last quarter"] = megabytes[-quarter:]
    return compare("soak", "MB", {**spans, f"{precision}, peak": [max(megabytes)]})


def main() -> None:
    """Run it."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=30.0, help="how long; 1 or more")
    given = options.parse_args()
    if given.minutes < 1:
        options.error("less than a minute says nothing; give --minutes 1 or more")
    subjects = soak(given.minutes)
    found = [line for name, (_, sizes) in subjects.items() for line in results(name, sizes, given.minutes)]
    used = versions("pgembedd", "psycopg", "onnxruntime", "tokenizers")
    used |= {f"rows embedded, {name}": str(workers.done) for name, (workers, _) in subjects.items()}
    publish(found, used, as_json=given.json)


if __name__ == "__main__":
    main()
