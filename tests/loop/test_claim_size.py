"""The size of a claim follows the model: bounded, never doubling more than once, and where it should be in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgembedd.loop.claim_size import FEWEST, FIRST, HOLD_S, MOST, ClaimSizer


def test_a_fixed_size_stays() -> None:
    sizer = ClaimSizer(7)
    sizer.note(14, 0.001)
    sizer.note(14, 100.0)
    assert sizer.size == 7


@given(st.lists(st.tuples(st.integers(0, 600), st.floats(0, 1000))))
def test_it_stays_in_its_bounds_and_grows_to_its_double_at_most(notes: list[tuple[int, float]]) -> None:
    sizer = ClaimSizer()
    for in_flight, held_s in notes:
        before = sizer.size
        sizer.note(in_flight, held_s)
        assert FEWEST <= sizer.size <= MOST
        assert sizer.size <= 2 * before


@pytest.mark.parametrize("rows_per_s", [1.0, 30.0, 200.0, 1_000.0, 1_000_000.0])
def test_it_comes_to_what_the_model_does_in_a_moment(rows_per_s: float) -> None:
    """Two claims are in flight at a steady rate, so one is held for as long as two take."""
    sizer = ClaimSizer()
    for _ in range(20):
        in_flight = 2 * sizer.size
        sizer.note(in_flight, in_flight / rows_per_s)
    assert sizer.size == pytest.approx(min(max(FEWEST, rows_per_s * HOLD_S / 2), MOST), abs=1)


def test_nothing_in_flight_says_nothing() -> None:
    sizer = ClaimSizer()
    sizer.note(0, 5.0)
    assert sizer.size == FIRST
