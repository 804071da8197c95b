"""The texts that the benches embed: real ones, with the long tail that real tables have.

Docstrings of Python's standard library, sections of manual pages, and what packages say about themselves; without
duplicates, in a fixed order. The same machine gives the same corpus; another one may have other packages, so every
figure made from it is a ratio within one run. `python -m bench.corpus` prints where the texts come from and how
long they are.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from bench.texts import MANUALS, PACKAGES, manual_sections, package_texts
from pgembedd.cli.demo_documents import standard_library

SEED = 20_240_917
SHORTEST_CHARS, LONGEST_CHARS = 20, 8_000
SOURCE_LIMIT = 5_000
"""Texts taken from each source, so that a machine with many packages has no other mixture than one with few."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class Corpus:
    """All texts, and how many come from each source."""

    texts: tuple[str, ...]
    sources: dict[str, int]

    def missing(self) -> list[str]:
        """One sentence for each source that this machine does not have."""
        return [f"This machine has no {name}; the corpus does without." for name, n in self.sources.items() if not n]


@cache
def load_corpus() -> Corpus:
    """Every text, mixed in an order that is the same each time; about 3 s."""
    sources: dict[str, Iterable[str]] = {
        "docstrings of the standard library": (document.text for document in standard_library()),
        f"manual pages in {MANUALS}": manual_sections(),
        f"package texts in {PACKAGES}": package_texts(),
    }
    seen: set[bytes] = set()
    taken = {name: evenly(list(_distinct(texts, seen)), SOURCE_LIMIT) for name, texts in sources.items()}
    mixed = [text for texts in taken.values() for text in texts]
    random.Random(SEED).shuffle(mixed)
    return Corpus(tuple(mixed), {name: len(texts) for name, texts in taken.items()})


def sample(texts: Sequence[str], count: int, seed: int = SEED) -> list[str]:
    """`count` of the texts, spread evenly over their lengths, so that short and long keep their shares; mixed."""
    chosen = evenly(sorted(texts, key=lambda text: (len(text), text)), count)
    random.Random(seed).shuffle(chosen)
    return chosen


def _distinct(texts: Iterable[str], seen: set[bytes]) -> Iterator[str]:
    """The texts of some length that differ in more than blanks from all before them; long ones cut."""
    for text in texts:
        words = text.split()
        digest = hashlib.sha256(" ".join(words).casefold().encode("utf-8", "replace")).digest()
        if len(text) >= SHORTEST_CHARS and digest not in seen:
            seen.add(digest)
            yield text[:LONGEST_CHARS]


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spread, in their order."""
    return [items[number * len(items) // count] for number in range(count)] if count < len(items) else list(items)


def summary(lengths: Sequence[int], unit: str) -> str:
    """Mean and quantiles in one line."""
    ranks = ", ".join(f"p{rank} {np.percentile(lengths, rank):.0f}" for rank in (10, 50, 90, 99))
    return f"{len(lengths)} texts, {np.mean(lengths):.0f} {unit} on average, {ranks}, longest {max(lengths)}"


def main() -> None:
    """Print the corpus's sources and its lengths."""
    corpus = load_corpus()
    for name, count in corpus.sources.items():
        print(f"{count:6} from {name}")
    print(*corpus.missing(), summary(list(map(len, corpus.texts)), "characters"), sep="\n")


if __name__ == "__main__":
    main()
