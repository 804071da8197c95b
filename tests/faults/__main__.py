"""`python -m tests.faults`: plays all faults and prints a table; exit code 1 when a figure of it is not zero."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import machine
from tests.faults.registry import FAULTS
from tests.faults.runner import Run
from tests.faults.table import Result, table
from tests.support.inherited import leave_inheritance


def main() -> int:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="time for all of it; 0: each fault once, briefly")
    parser.add_argument("--only", action="append", default=[], help="faults whose name contains this; repeatable")
    parser.add_argument("--rounds", type=int, default=1, help="of each fault at least")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the writers' and the faults' choices")
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if not chosen.only or any(part in fault.name for part in chosen.only)]
    if not faults:
        parser.error(f"no fault is called so; there are: {', '.join(fault.name for fault in FAULTS)}")
    leave_inheritance()
    began = time.monotonic()
    print(f"seed {chosen.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        results = Run(faults, Path(folder), chosen.minutes, chosen.seed, chosen.rounds).results()
    print(f"{machine()}; {(time.monotonic() - began) / 60:.0f} minutes, seed {chosen.seed}\n")
    print(table(results))
    return 1 if wrong(results) else 0


def wrong(results: list[Result]) -> bool:
    """Tells that a figure is not zero."""
    return any(result.findings for result in results)


if __name__ == "__main__":
    sys.exit(main())
