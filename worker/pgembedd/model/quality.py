"""What a precision costs in quality: a candidate against the reference, on the weights that the user has.

Retrieval is measured on Cranfield (`retrieval`), by exact search. A candidate passes the gate when a person who
searches could not tell: nDCG@10 no more than 0.5 % below the reference, and every document's vector close to its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.futures import Embeddings, Kind
from pgembedd.model.known_outputs import Check
from pgembedd.model.retrieval import Collection, load_cranfield, mean_ndcg_at_10, subset

NDCG_LOSS = 0.005
MEAN_COSINE = 0.999
WORST_COSINE = 0.99
TOP = 10
# Of a sample, so that a few queries still have something to miss.
DOCUMENTS_PER_QUERY = 25
# Enough for every core to have work, and few enough for the progress to move.
CHUNK = 64

# What calibration and averages forget: texts of a token or two, scripts, code, one word over and over.
ODD_TEXTS = (
    "",
    "!",
    "a",
    "7",
    "🙂",
    "🚀🔥🙈 💯",
    "0123456789",
    "3.14159 2,718 -1e-9 0xFF",
    "OK",
    "THE QUICK BROWN FOX",
    "for (i = 0; i < n; i++) { sum += a[i]; }",
    "select id, count(*) from orders where total > 9.99 group by 1;",
    '{"id": 17, "tags": ["a", null]}',
    "Die Straße führt über die Brücke.",
    "La forêt était déjà plongée dans l'obscurité.",
    "今日はとても良い天気です。",
    "今天天气很好。",
    "오늘은 날씨가 좋습니다.",
    "الطقس جميل اليوم",
    "मौसम आज अच्छा है",
    "Сегодня хорошая погода.",
    "http://example.com/a/very-long_path?x=1&y=%20#end",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk",
    "the " * 600,
)

Matrix = NDArray[np.float64]
Rankings = Mapping[int, Sequence[int]]
Progress = Callable[[int, int], None]


def unheeded(done: int, total: int) -> None:
    """Progress that nobody watches."""


class Embedder(Protocol):
    """What is compared: a `Session`, or whatever embeds like one."""

    def embed(self, texts: Sequence[str], *, kind: Kind = "document") -> Embeddings:
        """Vectors in the order of the texts."""


@dataclass(frozen=True)
class Likeness:
    """Cosines between the reference's and the candidate's vectors of the same texts."""

    mean: float
    worst: float


@dataclass(frozen=True)
class Quality:
    """What was measured. `sampled`: on a part of the collection only; `odd`: each text with its cosine."""

    queries: int
    documents: int
    sampled: bool
    reference_ndcg: float
    candidate_ndcg: float
    document_likeness: Likeness
    query_likeness: Likeness
    overlap: float
    odd: tuple[tuple[str, float], ...]

    @property
    def ndcg_difference(self) -> float:
        """(candidate - reference) / reference; infinite where the reference found nothing and the candidate did."""
        if self.reference_ndcg:
            return self.candidate_ndcg / self.reference_ndcg - 1
        return float("inf") if self.candidate_ndcg else 0.0

    def gates(self, reference: str = "fp32") -> list[Check]:
        """Each condition of the gate; `reference` is what its precision is called."""
        mean, worst, change = self.document_likeness.mean, self.document_likeness.worst, self.ndcg_difference
        return [
            Check("nDCG@10", f"no more than {NDCG_LOSS:.1%} below {reference}", f"{change:+.2%}", change >= -NDCG_LOSS),
            Check("mean cosine, documents", f">= {MEAN_COSINE}", f"{mean:.5f}", mean >= MEAN_COSINE),
            Check("worst cosine, documents", f">= {WORST_COSINE}", f"{worst:.5f}", worst >= WORST_COSINE),
        ]


def measure(
    reference: Embedder, candidate: Embedder, *, sample: int | None = None, progress: Progress = unheeded
) -> Quality:
    """Embed the collection with both, search it exactly with both, and compare.

    `sample` takes that many queries and a part of the documents; `progress` is called with the texts done and the
    texts in all. On two cores the whole takes a minute or two. Raises what the embedders raise.
    """
    collection = _collection(sample)
    one = _embed_all(reference, collection, progress, 0)
    other = _embed_all(candidate, collection, progress, 1)
    rankings = _rankings(one, collection), _rankings(other, collection)
    return Quality(
        queries=len(collection.queries),
        documents=len(collection.documents),
        sampled=sample is not None,
        reference_ndcg=mean_ndcg_at_10(rankings[0], collection),
        candidate_ndcg=mean_ndcg_at_10(rankings[1], collection),
        document_likeness=_likeness(one.documents, other.documents),
        query_likeness=_likeness(one.queries, other.queries),
        overlap=_overlap(*rankings),
        odd=tuple(zip(ODD_TEXTS, cosines(one.odd, other.odd).tolist(), strict=True)),
    )


def cosines(some: Matrix, others: Matrix) -> Matrix:
    """Row by row, (n, dims) twice to (n,), in double precision; norms need not be 1."""
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return np.asarray(np.einsum("nd,nd->n", some, others) / norms)


def _collection(sample: int | None) -> Collection:
    whole = load_cranfield()
    return whole if sample is None else subset(whole, queries=sample, documents=DOCUMENTS_PER_QUERY * sample)


@dataclass(frozen=True)
class _Vectors:
    """One embedder's vectors of everything, in double precision."""

    documents: Matrix
    queries: Matrix
    odd: Matrix


def _embed_all(embedder: Embedder, collection: Collection, progress: Progress, before: int) -> _Vectors:
    """`before`: how many embedders have done all this already."""
    parts: list[tuple[list[str], Kind]] = [
        (list(collection.documents.values()), "document"),
        (list(collection.queries.values()), "query"),
        (list(ODD_TEXTS), "document"),
    ]
    count = sum(len(texts) for texts, _ in parts)
    done, matrices = before * count, []
    for texts, kind in parts:
        chunks = []
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            chunks.append(embedder.embed(chunk, kind=kind).vectors)
            done += len(chunk)
            progress(done, 2 * count)
        matrices.append(np.concatenate(chunks).astype(np.float64))
    return _Vectors(*matrices)


def _rankings(vectors: _Vectors, collection: Collection) -> Rankings:
    """For each query the numbers of the nearest documents, of all of them; ties in the collection's order."""
    numbers = np.array(list(collection.documents))
    nearest = np.argsort(-(vectors.queries @ vectors.documents.T), axis=1, kind="stable")[:, :TOP]
    return {query: numbers[row].tolist() for query, row in zip(collection.queries, nearest, strict=True)}


def _likeness(some: Matrix, others: Matrix) -> Likeness:
    each = cosines(some, others)
    return Likeness(float(each.mean()), float(each.min()))


def _overlap(expected: Rankings, got: Rankings) -> float:
    """The mean share of the reference's first ten that the candidate's first ten hold as well, in any order."""
    shares = [len({*expected[query]} & {*got[query]}) / len(expected[query]) for query in expected]
    return sum(shares) / len(shares)
