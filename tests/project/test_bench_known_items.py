"""Known-item retrieval: the measures by hand, the collection, and the gate of the quality bench."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.known_items import SHORTEST_CHARS, Collection, load_collection, ranks, scores
from bench.quality import ODD_TEXTS, Quality, cosines, results
from tests.support.library import whole_collection

EVEN = {"nDCG@10": 0.4, "recall@10": 0.4, "MRR@10": 0.4}
GOOD = Quality(
    fp32=EVEN,
    other=EVEN,
    documents=np.array([0.9995, 0.9991]),
    questions=np.array([0.9, 0.8]),
    odd=np.full(len(ODD_TEXTS), 0.5),
)


@pytest.fixture(scope="module")
def collection() -> Collection:
    """The whole of it, read once."""
    return whole_collection()


@pytest.mark.parametrize(
    ("given_ranks", "expected"),
    [
        ([1], (1, 1, 1)),
        ([1, 1], (1, 1, 1)),
        ([2], (1 / 2, 1, 1 / math.log2(3))),
        ([10], (1 / 10, 1, 1 / math.log2(11))),
        ([11], (0, 0, 0)),
        ([math.inf], (0, 0, 0)),
        ([1, 3, math.inf, 11], ((1 + 1 / 3) / 4, 1 / 2, (1 + 1 / 2) / 4)),
    ],
)
def test_scores_by_hand(given_ranks: list[float], expected: tuple[float, float, float]) -> None:
    got = scores(np.array(given_ranks, np.float64))
    assert (got["MRR@10"], got["recall@10"], got["nDCG@10"]) == pytest.approx(expected)


@given(st.lists(st.integers(1, 30), min_size=1))
def test_scores_are_shares_and_a_better_rank_is_no_worse(given_ranks: list[int]) -> None:
    before, after = (scores(np.array(each, np.float64)) for each in (given_ranks, [1, *given_ranks[1:]]))
    assert 0 <= before["MRR@10"] <= before["nDCG@10"] <= before["recall@10"] <= 1
    assert all(after[name] >= value - 1e-12 for name, value in before.items())


def test_ranks_are_by_dot_product_and_ties_by_position() -> None:
    documents = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    questions = np.array([[1.0, 0.1], [0.9, 0.1], [0.0, 1.0]])
    assert ranks(questions, documents).tolist() == [1, 2, 2]


@pytest.mark.slow
def test_no_document_holds_its_question_and_each_is_there_once(collection: Collection) -> None:
    assert len(collection.questions) == len(collection.documents) > 1000
    assert len(set(collection.questions)) == len(set(collection.documents)) == len(collection.questions)
    pairs = zip(collection.questions, collection.documents, strict=True)
    held = [question for question, text in pairs if question in " ".join(text.split())]
    assert len(held) < len(collection.questions) / 100
    assert min(map(len, collection.documents)) >= SHORTEST_CHARS
    assert load_collection() == collection


@pytest.mark.slow
def test_a_sample_is_spread_evenly_and_keeps_the_pairs(collection: Collection) -> None:
    whole = collection
    part = whole.sample(100)
    places = [whole.questions.index(question) for question in part.questions]
    assert len(places) == 100
    assert part.documents == tuple(whole.documents[place] for place in places)
    assert places[0] == 0
    assert places[-1] > 0.98 * len(whole.questions)
    assert whole.sample(10_000) == whole


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, []),
        ({"other": EVEN | {"nDCG@10": 0.4 * 0.99501}}, []),
        ({"other": EVEN | {"nDCG@10": 0.4 * 0.99499}}, ["nDCG@10"]),
        ({"other": EVEN | {"nDCG@10": 0.5}}, []),
        ({"fp32": EVEN | {"nDCG@10": 0.0}, "other": EVEN | {"nDCG@10": 0.0}}, []),
        ({"documents": np.array([0.99899])}, ["mean cosine"]),
        ({"documents": np.array([0.99901])}, []),
        ({"documents": np.array([0.98999, *[1.0] * 99])}, ["worst cosine"]),
        ({"documents": np.array([0.99001, *[1.0] * 99])}, []),
        ({"documents": np.array([np.nan])}, ["mean cosine", "worst cosine"]),
    ],
)
def test_each_gate_holds_up_to_its_limit(change: dict[str, object], failed: list[str]) -> None:
    gates = replace(GOOD, **change).gates()  # type: ignore[arg-type]
    found = [sentence for sentence, holds in gates if not holds]
    assert len(found) == len(failed)
    assert all(sentence.startswith(name) for sentence, name in zip(found, failed, strict=True))


def test_results_name_each_figure_once() -> None:
    found = {result.case: result for result in results(replace(GOOD, other=EVEN | {"nDCG@10": 0.3}))}
    assert len(found) == 6 + 4 + len(ODD_TEXTS) == len(results(GOOD))
    assert found["nDCG@10, int8"].value == 0.3
    assert found["nDCG@10, int8"].ratio == pytest.approx(0.75)
    assert found["documents, worst"].value == 0.9991
    assert found["questions, mean"].value == pytest.approx(0.85)


def test_cosines_are_by_row_and_blind_to_norms() -> None:
    some = np.array([[1.0, 0.0], [3.0, 4.0]])
    others = np.array([[2.0, 0.0], [-4.0, 3.0]])
    assert cosines(some, others).tolist() == [1.0, 0.0]
