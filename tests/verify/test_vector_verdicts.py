"""Whether a stored vector is that of a text: what rounding does to it passes, whatever else does not."""

from __future__ import annotations

import numpy as np
import pytest

from pgembedd.verify.vector_verdicts import TOLERANCE, vector_verdicts

RANDOM = np.random.default_rng(1)


Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


def units(count: int, dims: int = 384) -> Floats:
    drawn = RANDOM.standard_normal((count, dims))
    normalised: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return normalised


FRESH = units(20).astype(np.float32)


def one(stored: Floats, tolerance: float = TOLERANCE["fp32"]) -> str:
    """What a vector is in the place of the first."""
    return vector_verdicts([stored.tolist(), *FRESH[1:].tolist()], FRESH, tolerance, among=True)[0][0]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("dims", [1, 3, 384, 4000])
def test_rounding_to_a_column_s_precision_passes(kind: type[np.floating], dims: int) -> None:
    fresh = units(50, dims).astype(np.float32)
    found = vector_verdicts(fresh.astype(kind).astype(np.float32).tolist(), fresh, TOLERANCE["fp32"], among=False)
    assert {verdict for verdict, _ in found} == {"right"}


def test_the_tolerance_is_of_the_angle() -> None:
    across = FRESH[1] - (FRESH[1] @ FRESH[0]) * FRESH[0]
    for one_minus_cosine, expected in ((0.5e-5, "right"), (2e-5, "unknown")):
        angle = np.arccos(1 - one_minus_cosine)
        turned = np.cos(angle) * FRESH[0].astype(np.float64) + np.sin(angle) * across / np.linalg.norm(across)
        assert one(turned) == expected
    assert one(turned, TOLERANCE["int8"]) == "right"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (FRESH[2], "stale"),
        (-FRESH[0], "unknown"),
        (FRESH[0] * 2, "corrupted"),
        (FRESH[0] * 0.99, "corrupted"),
        (FRESH[0] * 0, "corrupted"),
        (FRESH[0][:100], "corrupted"),
        (np.where(np.arange(384) == 7, np.nan, FRESH[0]), "corrupted"),
        (np.where(np.arange(384) == 7, np.inf, FRESH[0]), "corrupted"),
    ],
)
def test_what_is_not_right(stored: Floats, expected: str) -> None:
    assert one(stored) == expected


def test_nothing_to_vector_verdicts() -> None:
    assert vector_verdicts([], np.zeros((0,)), 1e-5, among=True) == []
