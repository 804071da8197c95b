"""The metrics, against values computed by hand."""

from __future__ import annotations

from math import log2

import pytest

from pgembedd.evaluation.metrics import METRICS, ndcg, recall, reciprocal_rank


def test_ndcg_of_graded_keys() -> None:
    relevant = {"a": 3.0, "b": 2.0, "c": 1.0}
    best = 3 + 2 / log2(3) + 1 / log2(4)
    assert ndcg(["a", "b", "c"], relevant) == pytest.approx(1)
    assert ndcg(["x", "c", "a"], relevant) == pytest.approx((1 / log2(3) + 3 / log2(4)) / best)
    assert ndcg(["x", "y"], relevant) == 0
    assert ndcg([], relevant) == 0


def test_only_the_first_ten_places_count() -> None:
    found = [*(f"x{n}" for n in range(10)), "a"]
    assert [metric(found, {"a": 1.0}) for metric in METRICS.values()] == [0, 0, 0]
    last = [*found[:9], "a"]
    assert reciprocal_rank(last, {"a": 1.0}) == pytest.approx(0.1)
    assert ndcg(last, {"a": 1.0}) == pytest.approx(1 / log2(11))


def test_more_relevant_keys_than_places() -> None:
    relevant = {str(number): 1.0 for number in range(20)}
    found = [str(number) for number in range(10)]
    assert ndcg(found, relevant) == pytest.approx(1)
    assert recall(found, relevant) == 0.5


def test_recall_and_rank_ignore_grades() -> None:
    relevant = {"a": 5.0, "b": 0.1}
    assert recall(["x", "b"], relevant) == 0.5
    assert reciprocal_rank(["x", "b", "a"], relevant) == 0.5
