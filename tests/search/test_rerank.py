"""Reranking a search's hits: reciprocal rank fusion of both orders, by the real reranker's scores."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from pgembedd.errors import ModelUnavailableError
from pgembedd.model import Reranker
from pgembedd.search.hits import Hit, Hits
from pgembedd.search.options import SearchOptions, with_defaults
from pgembedd.search.rerank import MAX_CANDIDATES, candidates, fuse, reranked


def test_both_ranks_count() -> None:
    order = fuse([0.1, 0.3, 0.2], 3)
    # Ranks (1, 3), (2, 1), (3, 2).
    assert [hit.position for hit in order] == [1, 0, 2]
    assert [hit.score for hit in order] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 63 + 1 / 62])
    assert [hit.rerank_score for hit in order] == [0.3, 0.1, 0.2]


def test_of_equal_scores_the_first_stays_first() -> None:
    assert [hit.position for hit in fuse([0.1, 0.2], 2)] == [0, 1]  # ranks (1, 2) and (2, 1)
    assert [hit.position for hit in fuse([0.5] * 5, 5)] == [0, 1, 2, 3, 4]


@hypothesis.given(st.lists(st.floats(-11, 11), max_size=MAX_CANDIDATES), st.integers(0, 30))
def test_every_hit_is_there_once_and_no_other_passes_a_candidate(scores: list[float], more: int) -> None:
    order = fuse(scores, len(scores) + more)
    assert sorted(hit.position for hit in order) == list(range(len(scores) + more))
    assert [hit.position for hit in order[len(scores) :]] == list(range(len(scores), len(scores) + more))
    assert [hit.score for hit in order] == sorted((hit.score for hit in order), reverse=True)
    assert all((hit.rerank_score is None) == (hit.position >= len(scores)) for hit in order)


@pytest.mark.slow
def test_the_real_reranker_lifts_the_answer() -> None:
    texts = [f"Text number {n} about the weather." for n in range(30)]
    texts[5] = "To reset your password, open the settings and choose Security."
    texts[25] = texts[5]
    try:
        reranker = Reranker(threads=2, notify=print)
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    with reranker:
        scores = reranker.score("how do I reset my password", texts[:MAX_CANDIDATES])
    order = fuse(scores.tolist(), len(texts))
    assert fuse([], 0) == []
    best = max((hit for hit in order if hit.rerank_score is not None), key=lambda hit: hit.rerank_score or 0)
    assert best.position == 5
    assert order.index(best) < 5
    assert order[25].position == 25  # no candidate


@hypothesis.given(st.integers(0, 45), st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_pages_are_cut_from_one_reranked_order(found: int, lengths: list[int]) -> None:
    order = [Hit(key=key, score=1 / (61 + key), record={}, snippet=str(key * 7 % 20)) for key in range(found)]

    def page(skip: int, k: int) -> list[Hit]:
        options = SearchOptions(k=k, skip=skip)
        asked = with_defaults(candidates(options))
        hits = Hits(order[asked["skip"] : asked["skip"] + asked["k"]])
        return reranked(hits, options, lambda texts: [float(text) for text in texts])

    skips = [sum(lengths[:nth]) for nth in range(len(lengths))]
    pages = [hit for skip, k in zip(skips, lengths, strict=True) for hit in page(skip, k)]
    assert [(hit.key, hit.score) for hit in pages] == [(hit.key, hit.score) for hit in page(0, sum(lengths))]
