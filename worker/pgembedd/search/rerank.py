"""Reranks the first hits of a search with a cross-encoder, fused with the order that they came in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pgembedd.search.calls import check_text
from pgembedd.search.hits import Hit, Hits
from pgembedd.search.options import SearchOptions, with_defaults
from pgembedd.search.passages import MARKS, READ_CHARACTERS, cut, plain
from pgembedd.settings import limits

MAX_CANDIDATES = 20
"""Hits that are reranked: 50 take 2.5 times the time for hardly more, see `bench.rerank_quality`."""

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

    A page that begins after the candidates is left as it is, and so is what SQL refuses. SearchError for marks that
    cannot be told to SQL.
    """
    asked = with_defaults(options)
    k, length, marks = asked["k"], asked["snippet_length"], asked["snippet_marks"]
    if not 0 <= (skip := asked["skip"] or 0) < MAX_CANDIDATES:
        return options
    for mark in marks:
        check_text("member of snippet_marks", mark)
    return {
        **options,
        "skip": 0,
        "k": min(max(MAX_CANDIDATES, skip + k), limits.HITS) if 1 <= k <= limits.HITS else k,
        "snippet_length": READ_CHARACTERS if 0 <= length < READ_CHARACTERS else length,
        "snippet_marks": MARKS if [len(mark) <= limits.MARK for mark in marks] == [True, True] else marks,
    }


def reranked(hits: Hits, options: SearchOptions, scores_of: Callable[[Sequence[str]], Sequence[float]]) -> Hits:
    """Returns the page of a search for candidates by both orders, with snippets as `options` ask for them.

    The first hits of all pages are reranked, and those after them follow as they came. `score` is the fused one,
    `rerank_score` the reranker's.
    """
    asked = with_defaults(options)
    if (skip := asked["skip"] or 0) >= MAX_CANDIDATES:
        others = (replace(hit, score=1 / (RRF_K + 1 + skip + nth)) for nth, hit in enumerate(hits))
        return Hits(others, hits.notices)
    length, marks = asked["snippet_length"], asked["snippet_marks"]
    passages = [hit.snippet or "" for hit in hits[:MAX_CANDIDATES]]
    texts = [plain(each if length <= READ_CHARACTERS else cut(each, READ_CHARACTERS, MARKS)) for each in passages]

    def shown(one: Reranked) -> Hit:
        hit = hits[one.position]
        snippet = None if hit.snippet is None or length == 0 else cut(hit.snippet, length, marks)
        return replace(hit, score=one.score, rerank_score=one.rerank_score, snippet=snippet)

    page = fuse(scores_of(texts), len(hits))[skip : skip + asked["k"]]
    return Hits(map(shown, page), hits.notices)
