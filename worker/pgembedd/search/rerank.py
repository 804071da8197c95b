"""Reranks the first hits of a search with a cross-encoder, fused with the order that they came in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pgembedd.search.calls import check_text
from pgembedd.search.hits import Hit, Hits
from pgembedd.search.options import SearchOptions, with_defaults
from pgembedd.search.passages import MARKS, READ_CHARACTERS, cut, plain
from pgembedd.settings import limits

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


def fuse(rerank_scores: Sequence[float], hits: int) -> list[Reranked]:
    """Returns `hits` hits by reciprocal rank fusion of their order with that of the first ones' `rerank_scores`.

    `score` is the sum of 1 / (RRF_K + rank) over both orders. Of equal ones the hit that came first stays first, and
    those without a score follow as they came.
    """
    best_first = sorted(range(len(rerank_scores)), key=lambda position: -rerank_scores[position])
    fused = [
        Reranked(position, 1 / (RRF_K + 1 + position) + 1 / (RRF_K + rank), rerank_scores[position])
        for rank, position in enumerate(best_first, start=1)
    ]
    others = [Reranked(position, 1 / (RRF_K + 1 + position), None) for position in range(len(rerank_scores), hits)]
    return sorted(fused, key=lambda hit: (-hit.score, hit.position)) + others


def candidates(options: SearchOptions) -> SearchOptions:
    """Returns the options of the search whose hits are reranked: for all that are read, with passages as snippets.

    What SQL refuses stays as it is. SearchError for marks that cannot be told to SQL.
    """
    asked = with_defaults(options)
    k, length, marks = asked["k"], asked["snippet_length"], asked["marks"]
    for mark in marks:
        check_text("member of marks", mark)
    return {
        **options,
        "k": MAX_CANDIDATES if 1 <= k < MAX_CANDIDATES else k,
        "snippet_length": READ_CHARACTERS if 0 <= length < READ_CHARACTERS else length,
        "marks": MARKS if [len(mark) <= limits.MARK for mark in marks] == [True, True] else marks,
    }


def reranked(hits: Hits, options: SearchOptions, scores_of: Callable[[Sequence[str]], Sequence[float]]) -> Hits:
    """Returns the best `k` hits of a search for candidates by both orders, with snippets as `options` ask for them.

    `score` is the fused one, `rerank_score` the reranker's.
    """
    asked = with_defaults(options)
    length, marks = asked["snippet_length"], asked["marks"]
    passages = [hit.snippet or "" for hit in hits[:MAX_CANDIDATES]]
    texts = [plain(each if length <= READ_CHARACTERS else cut(each, READ_CHARACTERS, MARKS)) for each in passages]

    def shown(one: Reranked) -> Hit:
        hit = hits[one.position]
        snippet = None if hit.snippet is None or length == 0 else cut(hit.snippet, length, marks)
        return replace(hit, score=one.score, rerank_score=one.rerank_score, snippet=snippet)

    return Hits(map(shown, fuse(scores_of(texts), len(hits))[: asked["k"]]), hits.notices)
