"""The bench of what reranking gives: its orders."""

from __future__ import annotations

import pytest

from bench.rerank_quality import known, orders


def test_the_order_of_the_reranker_and_the_fused_one() -> None:
    found = orders(6, [0.1, 0.2, 0.9])
    assert found == {"fused": [0, 2, 1, 3, 4, 5], "alone": [2, 1, 0, 3, 4, 5]}
    assert orders(12, [0.0] * 12)["alone"] == list(range(10)), "no more than are measured"


@pytest.mark.slow
def test_a_known_item_is_the_one_right_answer() -> None:
    collection = known()
    assert [question.relevant for question in collection.questions] == [{one.id: 1.0} for one in collection.documents]
