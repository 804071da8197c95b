"""Reranks the first hits of a search with a cross-encoder, fused with the order that they came in."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgembedd.model.reranker import Reranker

MAX_CANDIDATES = 20
"""Hits that are reranked: of more the order got worse, and each costs the reranker as much as a short text."""

RRF_K = 60
"""Damps the difference between the first ranks (Cormack, Clarke and Büttcher 2009)."""


@dataclass(frozen=True)
class Reranked:
    """A hit's position in the first order, from 0; its new score; the reranker's own where it was a candidate."""

    position: int
    score: float
    rerank_score: float | None


def rerank(reranker: Reranker, query: str, texts: Sequence[str], *, rrf_k: int = RRF_K) -> list[Reranked]:
    """Returns the hits, whose texts come best first, in their new order; waits for the reranker.

    The first MAX_CANDIDATES are reranked, and their two ranks fused: `score` is the sum of 1 / (rrf_k + rank) over both
    orders. The others follow as they came. ModelError.
    """
    scores = reranker.score(query, texts[:MAX_CANDIDATES]).tolist()
    return fuse(scores, len(texts), rrf_k=rrf_k)


def fuse(rerank_scores: Sequence[float], hits: int, *, rrf_k: int = RRF_K) -> list[Reranked]:
    """Returns `hits` hits by reciprocal rank fusion of their order with that of the first ones' `rerank_scores`.

    Of equal scores the hit that came first stays first.
    """
    best_first = sorted(range(len(rerank_scores)), key=lambda position: -rerank_scores[position])
    fused = [
        Reranked(position, 1 / (rrf_k + 1 + position) + 1 / (rrf_k + rank), rerank_scores[position])
        for rank, position in enumerate(best_first, start=1)
    ]
    others = [Reranked(position, 1 / (rrf_k + 1 + position), None) for position in range(len(rerank_scores), hits)]
    return sorted(fused, key=lambda hit: (-hit.score, hit.position)) + others
