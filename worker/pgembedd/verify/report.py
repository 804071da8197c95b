"""The verdicts of `pgembedd verify` on rows, and their summary."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

EXAMPLES = 5
WRONG = ("stale", "foreign", "corrupted", "missing", "orphaned", "unreadable")
# At least so many vectors that fit no text, and at least this share of all, count as another model's.
FOREIGN_ROWS, FOREIGN_SHARE = 10, 0.9

Verdict = Literal[
    "right", "blank", "dead", "in_flight",  # correct, or known to be incorrect
    "stale", "foreign", "corrupted", "missing", "orphaned", "unreadable",
    "unknown",  # a well-formed vector of no text that was read: stale or foreign, see Report.conclude
]  # fmt: skip


@dataclass
class Report:
    """The result for a pipeline: rows by verdict, and the keys (JSON) of a few wrong rows."""

    pipeline: str
    rows: int
    seed: int | None
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    requeued: int = 0
    cosine_sum: float = 0.0  # the sum of the cosines of `unknown` vectors
    guessed: int = 0  # `unknown` vectors that count as another model's

    @property
    def rows_checked(self) -> int:
        """The number of rows that were checked."""
        return self.counts.total()

    @property
    def wrong(self) -> int:
        """The number of rows with a wrong verdict."""
        return sum(self.counts[kind] for kind in WRONG)

    def add(self, verdict: Verdict, key: str, cosine: float) -> None:
        """Counts one row; `cosine` is that of its vector with the right one."""
        self.counts[verdict] += 1
        self.cosine_sum += cosine if verdict == "unknown" else 0.0
        if verdict in WRONG or verdict == "unknown":
            examples = self.examples.setdefault(verdict, [])
            if len(examples) < EXAMPLES:
                examples.append(key)

    def conclude(self) -> None:
        """Classifies the vectors that fit no text: as another model's if nearly all are like that, else as stale."""
        unknown = self.counts.pop("unknown", 0)
        compared = unknown + self.counts["right"] + self.counts["stale"]
        kind = "foreign" if unknown >= max(FOREIGN_ROWS, FOREIGN_SHARE * compared) else "stale"
        self.guessed = unknown if kind == "foreign" else 0
        self.counts[kind] += unknown
        self.examples[kind] = (self.examples.get(kind, []) + self.examples.pop("unknown", []))[:EXAMPLES]

    @property
    def note(self) -> str | None:
        """A sentence about most vectors of the column, or None."""
        if not self.guessed:
            return None
        precision = " at another precision" if self.cosine_sum / self.guessed > 0.98 else ""
        return f"Most vectors disagree with their rows: probably another model's{precision}."
