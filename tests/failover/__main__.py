"""`python -m tests.failover`: plays all failovers and prints two tables; exit code 1 when something was wrong."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.machine import machine
from tests.failover.hosts import leave_network
from tests.failover.kinds import FAULTS, Failover, LeaderFault
from tests.failover.patroni import installed, program
from tests.failover.scene import STAGES, WAYS
from tests.faults import pgbouncer
from tests.faults.runner import Run
from tests.faults.table import KINDS, Result, markdown
from tests.support.inherited import leave_inheritance

FROM_COMMIT_TO_VECTOR = "seconds from the first commit to the first vector"


def main() -> int:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=len(WAYS), help="of each failover; each way is taken in turn")
    parser.add_argument("--only", default="", help="failovers whose name contains this")
    parser.add_argument("--mode", choices=STAGES, help="of the replication; both if not given")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the writers' choices")
    chosen = parser.parse_args()
    kinds = [kind for kind in FAULTS if chosen.only in kind.name and chosen.mode in (None, kind.stage)]
    leave_inheritance()
    described = f"{machine()}; {versions()}; seed {chosen.seed}"
    leave_network()
    with tempfile.TemporaryDirectory() as folder:
        results = Run(kinds, Path(folder), 0, chosen.seed, chosen.rounds, STAGES).results()
    print(described, by_kind(kinds, results), by_way(results), sep="\n\n")
    return 1 if any(result.findings for result in results) else 0


def versions() -> str:
    """The versions of all parts. Fetches those that are not there, as a network of its own has no way to a mirror."""
    said = [[*program("usr/bin/etcd"), "--version"], [*program("usr/sbin/haproxy"), "-v"]]
    lines = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for command in said]
    return ", ".join([f"Patroni {installed()}", *(line.splitlines()[0] for line in lines), pgbouncer.version()])


def by_kind(kinds: Iterable[type[LeaderFault]], results: Iterable[Result]) -> str:
    """A row for each failover and mode."""
    head = ["", "replication", "times", "transactions that Postgres lost", *KINDS]
    head += [*_heads("seconds to the first commit"), *_heads("to the first vector")]
    rows = []
    for kind, result in zip(kinds, results, strict=True):
        mine = _failovers(result)
        counts = [result.times, sum(one.lost for one in mine), *result.findings.counts().values()]
        seconds = [[one.commit_s for one in mine], [one.vector_s for one in mine]]
        rows.append([kind.name, kind.stage, *map(str, counts), *(cell for each in seconds for cell in _figures(each))])
    return markdown(head, rows)


def by_way(results: Iterable[Result]) -> str:
    """A row for each way that workers took: how much later than the first commit the first vector was."""
    every = [one for result in results for one in _failovers(result)]
    rows = []
    for way in dict.fromkeys(WAYS):
        later = [one.vector_s - one.commit_s for one in every if one.way == way]
        rows.append([way, str(len(later)), *_figures(later)])
    return markdown(["workers connect by", "times", *_heads(FROM_COMMIT_TO_VECTOR)], rows)


def _failovers(result: Result) -> list[Failover]:
    return [one for one in result.measured if isinstance(one, Failover)]


def _heads(what: str) -> list[str]:
    return [f"{what} (median)", "(max)"]


def _figures(seconds: list[float]) -> list[str]:
    return [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"] if seconds else ["", ""]


if __name__ == "__main__":
    sys.exit(main())
