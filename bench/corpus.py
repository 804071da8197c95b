"""The texts that the benches embed: real ones, with the long tail that real tables have.

Docstrings of Python's standard library, sections of manual pages, and what packages say about themselves; without
duplicates, in a fixed order. The same machine gives the same corpus; another one may have other packages, so every
figure made from it is a ratio within one run. `python -m bench.corpus` prints where the texts come from and how
long they are.
"""

import argparse
import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bench.texts import MANUALS, PACKAGES, manual_sections, package_texts
from pgembedd.cli.demo_documents import standard_library
from pgembedd.model.files.select_source import select_fetcher
from pgembedd.model.files.sources import obtain
from pgembedd.model.model_spec import TOKENIZER
from pgembedd.model.specs import resolve
from pgembedd.model.tokenizer import Tokenizer

SEED = 20_240_917
SHORTEST_CHARS, LONGEST_CHARS = 20, 8_000
SOURCE_LIMIT = 5_000
"""Texts taken from each source, so that a machine with many packages has no other mixture than one with few."""

EDGES = (0, 16, 32, 64, 128, 256, 512, 1024, 1_000_000)
"""Bounds of the histogram's bars, in tokens."""


@dataclass(frozen=True)
class Corpus:
    """All texts, and how many come from each source."""

    texts: tuple[str, ...]
    sources: dict[str, int]

    def missing(self) -> list[str]:
        """One sentence for each source that this machine does not have."""
        return [f"This machine has no {name}; the corpus does without." for name, n in self.sources.items() if not n]


def load_corpus() -> Corpus:
    """Every text, mixed in an order that is the same each time; about 3 s."""
    sources: dict[str, Iterable[str]] = {
        "docstrings of the standard library": (document.text for document in standard_library()),
        f"manual pages in {MANUALS}": manual_sections(),
        f"package texts in {PACKAGES}": package_texts(),
    }
    seen: set[bytes] = set()
    taken = {name: _some(list(_distinct(texts, seen)), SOURCE_LIMIT) for name, texts in sources.items()}
    mixed = [text for texts in taken.values() for text in texts]
    random.Random(SEED).shuffle(mixed)
    return Corpus(tuple(mixed), {name: len(texts) for name, texts in taken.items()})


def sample(texts: Sequence[str], count: int, seed: int = SEED) -> list[str]:
    """`count` of the texts, spread evenly over their lengths, so that short and long keep their shares; mixed."""
    chosen = _some(sorted(texts, key=lambda text: (len(text), text)), count)
    random.Random(seed).shuffle(chosen)
    return chosen


def histogram(lengths: Sequence[int], edges: Sequence[int] = EDGES) -> list[int]:
    """How many lengths lie in each [edge, next edge)."""
    return [int(count) for count in np.histogram(lengths, bins=[*edges[:-1], edges[-1] - 0.5])[0]]


def token_lengths(texts: Sequence[str], model: str = "all-MiniLM-L6-v2") -> list[int]:
    """Tokens of each text, special ones included, before any limit."""
    spec = resolve(model)
    tokenizer = Tokenizer(obtain(spec, select_fetcher(spec), TOKENIZER), spec.max_tokens)
    return [tokenizer.count(text) for text in texts]


def _distinct(texts: Iterable[str], seen: set[bytes]) -> Iterator[str]:
    """The texts of some length that differ in more than blanks from all before them; long ones cut."""
    for text in texts:
        words = text.split()
        digest = hashlib.sha256(" ".join(words).casefold().encode("utf-8", "replace")).digest()
        if len(text) >= SHORTEST_CHARS and digest not in seen:
            seen.add(digest)
            yield text[:LONGEST_CHARS]


def _some(items: list[str], count: int) -> list[str]:
    """At most `count` of the items, evenly spread, in their order."""
    if len(items) <= count:
        return items
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def summary(lengths: Sequence[int]) -> str:
    """Mean and quantiles in one line."""
    ranks = ", ".join(f"p{rank} {np.percentile(lengths, rank):.0f}" for rank in (10, 50, 90, 99))
    return f"{len(lengths)} texts, {np.mean(lengths):.0f} tokens on average, {ranks}, longest {max(lengths)}"


def histogram_table(lengths: Sequence[int]) -> Table:
    """Share of the texts in each bar."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("tokens", "texts", "share", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    counts = histogram(lengths)
    for low, high, count in zip(EDGES, EDGES[1:], counts, strict=False):
        bar = "#" * round(60 * count / len(lengths))
        name = f"{low} to {high - 1}" if high != EDGES[-1] else f"{low} and more"
        table.add_row(name, str(count), f"{count / len(lengths):.1%}", bar)
    return table


def main() -> None:
    """Print the corpus's sources and its histogram."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="of a sample of N texts instead of all")
    options = parser.parse_args()
    corpus = load_corpus()
    texts = sample(corpus.texts, options.sample) if options.sample else corpus.texts
    lengths = token_lengths(texts)
    for name, count in corpus.sources.items():
        print(f"{count:6} from {name}")
    for sentence in corpus.missing():
        print(sentence)
    print(summary(lengths))
    Console().print(histogram_table(lengths))


if __name__ == "__main__":
    main()
