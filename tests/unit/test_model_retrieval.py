"""The measure of retrieval, by hand, and the collection it is used on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.model.retrieval import load_cranfield, mean_ndcg_at_10, ndcg_at_10, subset


@pytest.mark.parametrize(
    ("ranked", "relevant", "score"),
    [
        ([1, 2, 3], {1, 2, 3}, 1.0),
        ([3, 1, 2], {1, 2, 3}, 1.0),
        ([9, 1], {1}, 1 / math.log2(3)),
        ([1, 9, 2], {1, 2}, (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        ([9, 8], {1}, 0.0),
        ([], {1}, 0.0),
        ([1], set(), 0.0),
        ([*range(100, 110), 1], {1}, 0.0),
    ],
)
def test_by_hand(ranked: list[int], relevant: set[int], score: float) -> None:
    assert ndcg_at_10(ranked, relevant) == pytest.approx(score)


@given(st.permutations(range(20)), st.sets(st.integers(0, 19), min_size=1))
def test_never_above_one_and_best_when_sorted(ranked: list[int], relevant: set[int]) -> None:
    assert 0 <= ndcg_at_10(ranked, relevant) <= 1
    assert ndcg_at_10(sorted(ranked, key=lambda n: n not in relevant), relevant) == pytest.approx(1)


def test_cranfield_is_whole() -> None:
    cranfield = load_cranfield()
    assert (len(cranfield.documents), len(cranfield.queries)) == (1400, 225)
    assert sorted(cranfield.documents) == list(range(1, 1401))
    assert cranfield.queries[1].startswith("what similarity laws must be obeyed")
    assert cranfield.documents[1].startswith("experimental investigation of the aerodynamics of a wing")
    assert 184 in cranfield.relevant[1]
    assert all(found <= cranfield.documents.keys() for found in cranfield.relevant.values())


def test_a_subset_holds_what_its_queries_need() -> None:
    part = subset(load_cranfield(), queries=30, documents=350)
    assert len(part.queries) == 30
    assert len(part.documents) == 350
    assert all(found <= part.documents.keys() for found in part.relevant.values())


def test_a_query_without_a_ranking_counts_as_failed() -> None:
    part = subset(load_cranfield(), queries=2, documents=100)
    first = next(iter(part.queries))
    assert mean_ndcg_at_10({first: sorted(part.relevant[first])}, part) == pytest.approx(0.5)
