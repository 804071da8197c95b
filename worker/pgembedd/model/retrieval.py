"""Measuring retrieval: the Cranfield collection, and nDCG@10 with binary relevance."""

import lzma
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

CRANFIELD = Path(__file__).parent / "data" / "cranfield"


@dataclass(frozen=True)
class Collection:
    """Texts by number, and for each query the numbers of the documents that answer it."""

    documents: Mapping[int, str]
    queries: Mapping[int, str]
    relevant: Mapping[int, frozenset[int]]


def load_cranfield() -> Collection:
    """All of Cranfield; see data/cranfield/README.md for the format."""
    documents = parse_documents(_unpack("cran.all.1400"))
    judgements = parse_judgements(_unpack("cranqrel"))
    return Collection(documents, parse_queries(_unpack("cran.qry")), judgements)


def _unpack(name: str) -> str:
    return lzma.decompress((CRANFIELD / f"{name}.xz").read_bytes()).decode("ascii")


def parse_documents(text: str) -> dict[int, str]:
    """The abstracts by number; where an abstract is missing its title stands for it."""
    return {number: record.get("W") or record.get("T", "") for number, record in _records(text)}


def parse_queries(text: str) -> dict[int, str]:
    """The questions by their place in the file, which is how the judgements number them."""
    return {place: record.get("W", "") for place, (_, record) in enumerate(_records(text), start=1)}


def parse_judgements(text: str) -> dict[int, frozenset[int]]:
    """Per query the documents judged 1 to 4; -1 means not relevant."""
    relevant: dict[int, set[int]] = {}
    for line in text.splitlines():
        query, document, grade = (int(number) for number in line.split())
        if grade > 0:
            relevant.setdefault(query, set()).add(document)
    return {query: frozenset(documents) for query, documents in relevant.items()}


def _records(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record's number and its fields by letter, lines joined by single spaces."""
    for block in f"\n{text}".split("\n.I ")[1:]:
        number, _, rest = block.partition("\n")
        fields = {part[0]: " ".join(part[1:].split()) for part in f"\n{rest}".split("\n.")[1:] if part}
        yield int(number), fields


def subset(collection: Collection, *, queries: int, documents: int) -> Collection:
    """The first queries with all their relevant documents, and others spread over the collection up to a number."""
    chosen = sorted(collection.relevant)[:queries]
    wanted = frozenset[int]().union(*(collection.relevant[query] for query in chosen))
    others = [number for number in collection.documents if number not in wanted]
    room = max(0, documents - len(wanted))
    stride = max(1, len(others) // room) if room else len(others) + 1
    kept = sorted({*wanted, *others[::stride][:room]})
    return Collection(
        {number: collection.documents[number] for number in kept},
        {query: collection.queries[query] for query in chosen},
        {query: collection.relevant[query] for query in chosen},
    )


def ndcg_at_10(ranked: Sequence[int], relevant: AbstractSet[int]) -> float:
    """Normalised discounted cumulative gain of the first ten (Järvelin and Kekäläinen 2002), gains 0 or 1.

    1 where the first ten hold as many relevant documents as they can, foremost; 0 where they hold none.
    """
    gain = _discounted(number in relevant for number in ranked[:10])
    best = _discounted(True for _ in range(min(10, len(relevant))))
    return gain / best if best else 0.0


def _discounted(hits: Iterable[bool]) -> float:
    return sum(hit / math.log2(rank + 1) for rank, hit in enumerate(hits, start=1))


def mean_ndcg_at_10(rankings: Mapping[int, Sequence[int]], collection: Collection) -> float:
    """The mean over all queries that have relevant documents; a query without a ranking counts 0."""
    scores = [ndcg_at_10(rankings.get(query, ()), found) for query, found in collection.relevant.items()]
    return sum(scores) / len(scores)
