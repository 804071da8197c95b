"""What `pgembedd verify` says of rows, and what it makes of all of them together."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

EXAMPLES = 5
WRONG = ("stale", "foreign", "corrupted", "missing", "orphaned", "unreadable")
# So many vectors that fit no text are taken for another model's, when they are nearly all that there are.
FOREIGN_ROWS, FOREIGN_SHARE = 10, 0.9

Verdict = Literal[
    "right", "blank", "dead", "in_flight",  # as it should be, or known not to be
    "stale", "foreign", "corrupted", "missing", "orphaned", "unreadable",
    "unknown",  # a good vector, but of no text that we saw: stale or foreign, see Report.conclude
]  # fmt: skip


@dataclass
class Report:
    """What was found in a pipeline: how many rows of each kind, and the keys (JSON) of a few of the wrong ones."""

    pipeline: str
    rows: int
    seed: int | None
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    requeued: int = 0
    cosine_sum: float = 0.0  # the sum of the cosines of `unknown` vectors
    guessed: int = 0  # how many of those were taken for another model's

    @property
    def rows_checked(self) -> int:
        """Rows in all."""
        return self.counts.total()

    @property
    def wrong(self) -> int:
        """Rows that are not as they should be."""
        return sum(self.counts[kind] for kind in WRONG)

    def add(self, verdict: Verdict, key: str, cosine: float) -> None:
        """Count one row; `cosine` is that of its vector with the right one."""
        self.counts[verdict] += 1
        self.cosine_sum += cosine if verdict == "unknown" else 0.0
        if verdict in WRONG or verdict == "unknown":
            examples = self.examples.setdefault(verdict, [])
            if len(examples) < EXAMPLES:
                examples.append(key)

    def conclude(self) -> None:
        """Decide on the vectors that fit no text: stale, or another model's when nearly all are like that."""
        unknown = self.counts.pop("unknown", 0)
        compared = unknown + self.counts["right"] + self.counts["stale"]
        kind = "foreign" if unknown >= max(FOREIGN_ROWS, FOREIGN_SHARE * compared) else "stale"
        self.guessed = unknown if kind == "foreign" else 0
        self.counts[kind] += unknown
        self.examples[kind] = (self.examples.get(kind, []) + self.examples.pop("unknown", []))[:EXAMPLES]

    @property
    def note(self) -> str | None:
        """What most of the vectors of a column have in common, in a sentence."""
        if not self.guessed:
            return None
        precision = " at another precision" if self.cosine_sum / self.guessed > 0.98 else ""
        return f"Most vectors disagree with their rows: probably another model's{precision}."
