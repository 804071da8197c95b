"""The committed results: a folder for every machine, with a file of JSON lines for every run.

The benches print these lines with --json; the folder's machine.txt says which machine it is, in a line.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import DESCRIPTION, RESULTS


@dataclass(frozen=True)
class Line:
    """One result: see `bench.report.Result`. `command` is what made it, where the bench has said so."""

    bench: str
    case: str
    value: float
    unit: str
    spread: tuple[float, float]
    ratio_to: str | None
    ratio: float | None
    machine: str
    versions: dict[str, str]
    command: str | None


@dataclass(frozen=True)
class Run:
    """The results of one run, which may be compared with each other; not with those of another run.

    `name` is that of its file in bench/results: folder/file, without the ending. `machine` is the folder's.
    """

    name: str
    machine: str
    lines: tuple[Line, ...]

    @property
    def bench(self) -> str:
        """Which bench it is a run of."""
        return self.lines[0].bench

    def command(self) -> str:
        """What made it."""
        return self.lines[0].command or f"python -m bench.{self.bench}"

    def matching(self, pattern: str, unit: str | None = None) -> Iterator[tuple[Line, re.Match[str]]]:
        """The lines whose whole case matches, with the match."""
        for line in self.lines:
            match = re.fullmatch(pattern, line.case)
            if match and unit in (None, line.unit):
                yield line, match


def load_runs(folder: Path = RESULTS) -> list[Run]:
    """Every run, by name, those of the machine with most runs first.

    ValueError names the file that holds something else than one run of one bench on its folder's machine.
    """
    machines = by_machine(_run(path) for path in sorted(folder.rglob("*.jsonl")))
    return [run for runs in sorted(machines.values(), key=len, reverse=True) for run in runs]


def by_machine(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each machine, in their order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.machine, []).append(run)
    return found


def _run(path: Path) -> Run:
    try:
        lines = tuple(_line(json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines())
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} does not hold results of a bench alone: {error!r}") from error
    if len({(line.bench, line.machine, line.command) for line in lines}) != 1:
        raise ValueError(f"{path.name} does not hold one run of one bench.")
    cases = [(line.case, line.unit) for line in lines]
    if twice := {case for case, unit in cases if cases.count((case, unit)) > 1}:
        raise ValueError(f"{path.name} holds {min(twice)!r} twice.")
    return Run(f"{path.parent.name}/{path.stem}", _machine(path, lines[0].machine), lines)


def _machine(path: Path, named: str) -> str:
    """The folder's machine; the oldest results say less of it than the folder does."""
    description = path.with_name(DESCRIPTION)
    described = description.read_text(encoding="utf-8").strip() if description.exists() else ""
    if not described.startswith(named):
        raise ValueError(f"{path.name} is of {named}: it belongs into the folder that python -m bench.machine makes.")
    return described


def _line(record: dict[str, Any]) -> Line:
    value = float(record["value"])
    low, high = record.get("spread") or (value, value)
    return Line(
        bench=record["bench"],
        case=record["case"],
        value=value,
        unit=record["unit"],
        spread=(float(low), float(high)),
        ratio_to=record["ratio_to"],
        ratio=record["ratio"],
        machine=record["machine"],
        versions=record["versions"],
        command=record.get("command"),
    )
