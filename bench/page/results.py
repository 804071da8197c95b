"""The committed results: a folder for every machine, with a file of JSON lines for every run.

The benches print these lines with --json; the folder's machine.txt says which machine it is, in a line.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from bench.machine import DESCRIPTION, RESULTS
from bench.result import Result

SETTINGS = "settings of "
"""How names begin under which a bench notes settings next to the versions."""


@dataclass(frozen=True)
class Run:
    """The results of one run, which may be compared with each other; not with those of another run.

    `folder` is the machine's in bench/results, `name` the file's without its ending. `versions` may hold settings.
    """

    folder: str
    name: str
    machine: str
    command: str
    versions: dict[str, str]
    results: tuple[Result, ...]

    @property
    def bench(self) -> str:
        """Which bench it is a run of."""
        return self.results[0].bench

    @property
    def model(self) -> str:
        """The model, where the bench notes one."""
        return self.versions.get("model", "")

    def matching(self, pattern: str, unit: str | None = None) -> list[Result]:
        """Those whose whole case matches. LookupError where there is none."""
        found = [each for each in self.results if re.fullmatch(pattern, each.case) and unit in (None, each.unit)]
        if not found:
            raise LookupError(f"{self.name} has no {pattern!r}.")
        return found

    def value(self, pattern: str, unit: str | None = None) -> float:
        """The value of the one case that matches. ValueError where there are several, LookupError where none."""
        (found,) = self.matching(pattern, unit)
        return found.value


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
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        ((bench, named, command),) = {(line["bench"], line["machine"], line["command"]) for line in lines}
        results = [Result(**{field.name: line[field.name] for field in fields(Result)}) for line in lines]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path.name} does not hold one run of one bench: {error!r}") from error
    if len({(each.case, each.unit) for each in results}) < len(results):
        raise ValueError(f"{path.name} of {bench} holds a case twice.")
    described = path.with_name(DESCRIPTION)
    machine = described.read_text(encoding="utf-8").strip() if described.exists() else ""
    if not machine.startswith(named):  # the oldest results say less of it than the folder does
        raise ValueError(f"{path.name} is of {named}: it belongs into the folder that python -m bench.machine makes.")
    versions = {name: version for line in lines for name, version in line["versions"].items()}
    return Run(path.parent.name, path.stem, machine, command, versions, tuple(results))
