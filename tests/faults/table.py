"""What came of each fault, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.faults.oracle import Findings

KINDS = tuple(Findings().counts())


@dataclass
class Result:
    """One fault: how often it struck, what was found after it, and the seconds until the queues were empty."""

    name: str
    times: int = 0
    rounds: int = 0
    used_s: float = 0.0
    recovery_s: list[float] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    not_run: str = ""
    measured: list[object] = field(default_factory=list)
    """What the fault measured in each round."""

    def cells(self) -> list[str]:
        """The row of the table."""
        if self.not_run:
            return [self.name, f"not run: {self.not_run}", *[""] * (len(KINDS) + 3)]
        median, largest = "", ""
        if self.recovery_s:
            median, largest = f"{statistics.median(self.recovery_s):.1f}", f"{max(self.recovery_s):.1f}"
        counts = [str(count) for count in self.findings.counts().values()]
        return [self.name, str(self.times), str(self.rounds), *counts, median, largest]


def table(results: Iterable[Result]) -> str:
    """All results in Markdown."""
    head = ["fault", "times", "rounds", *KINDS, "seconds to recover (median)", "(max)"]
    return markdown(head, [result.cells() for result in results])


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))
