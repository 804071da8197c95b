"""Token vectors to one vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pgembedd.model.pooling import normalize, pool

TOKENS = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def test_mean_counts_every_token() -> None:
    assert pool(TOKENS, "mean").tolist() == [[4.0, 5.0, 6.0, 7.0]]


def test_cls_takes_the_first_token() -> None:
    assert pool(TOKENS, "cls").tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_vectors_that_are_pooled_already_stay_as_they_are() -> None:
    assert pool(TOKENS[:, 1], "mean").tolist() == TOKENS[:, 1].tolist()


@pytest.mark.slow
@given(arrays(np.float32, (3, 8), elements=st.floats(-100, 100, width=32).filter(lambda x: abs(x) > 1e-3)))
def test_norms_are_one(vectors: np.ndarray) -> None:
    units = normalize(vectors)
    assert units.dtype == np.float32
    assert np.linalg.norm(units.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)


def test_a_zero_vector_stays_zero() -> None:
    assert normalize(np.zeros((1, 4), np.float32)).tolist() == [[0, 0, 0, 0]]
