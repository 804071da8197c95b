"""Runs: every text once, equal lengths, never more tokens than allowed, long ones first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgembedd.model.batching import MAX_RUN_TOKENS, plan_padded, plan_portions, plan_runs

lengths_lists = st.lists(st.integers(1, 600), max_size=200)


@given(lengths_lists)
def test_every_text_is_in_exactly_one_run(lengths: list[int]) -> None:
    assert sorted(i for run in plan_runs(lengths) for i in run) == list(range(len(lengths)))


@given(lengths_lists, st.integers(1, 600))
def test_a_run_holds_equal_lengths_within_the_limit_or_one_text(lengths: list[int], limit: int) -> None:
    for run in plan_runs(lengths, limit):
        assert len({lengths[i] for i in run}) == 1
        assert len(run) == 1 or sum(lengths[i] for i in run) <= limit


@given(lengths_lists)
def test_long_texts_come_first(lengths: list[int]) -> None:
    firsts = [lengths[run[0]] for run in plan_runs(lengths)]
    assert firsts == sorted(firsts, reverse=True)


@given(st.integers(1, 600), st.integers(1, 300))
def test_runs_of_equal_texts_are_as_full_as_the_limit_allows(length: int, count: int) -> None:
    size = max(1, MAX_RUN_TOKENS // length)
    assert len(plan_runs([length] * count)) == -(-count // size)


def test_a_limit_of_one_puts_every_text_alone() -> None:
    assert plan_runs([3, 3, 5], max_tokens=1) == [[2], [0], [1]]


def to_sixteen(tokens: int) -> int:
    return -(-tokens // 16) * 16


@given(lengths_lists, st.integers(1, 4_000))
def test_a_padded_run_is_within_the_limit_and_half_of_it_is_text(lengths: list[int], limit: int) -> None:
    """Of texts whose length is a multiple of the padding's; every text is in one run, longest first."""
    lengths = [16 * length for length in lengths]
    runs = plan_padded(lengths, limit, to_sixteen)
    assert sorted(i for run in runs for i in run) == list(range(len(lengths)))
    assert [lengths[i] for run in runs for i in run] == sorted(lengths, reverse=True)
    for run in runs:
        computed = len(run) * to_sixteen(lengths[run[0]])
        assert len(run) == 1 or computed <= limit
        assert 2 * sum(lengths[i] for i in run) >= computed


def test_padded_runs_are_as_full_as_the_limit_allows() -> None:
    assert [len(run) for run in plan_padded([40, 33] * 100, 480, to_sixteen)] == [10] * 20
    assert plan_padded([100, 49, 51], 4_096, to_sixteen) == [[0, 2], [1]]


@given(st.lists(st.text(max_size=60), max_size=80), st.integers(1, 200))
def test_every_text_is_in_exactly_one_portion_longest_first(texts: list[str], first_chars: int) -> None:
    portions = list(plan_portions(texts, first_chars))
    order = [position for portion in portions for position in portion]
    assert sorted(order) == list(range(len(texts)))
    lengths = [len(texts[position]) for position in order]
    assert lengths == sorted(lengths, reverse=True)
    assert all(portions)


def test_the_first_portion_is_small_and_the_next_ones_are_not() -> None:
    portions = list(plan_portions(["x" * 100] * 1000, first_chars=800))
    assert [len(portion) for portion in portions] == [8, 64, 512, 416]


def test_portions_for_a_device_do_not_grow() -> None:
    portions = list(plan_portions(["x" * 100] * 1000, first_chars=40_000, growth=1))
    assert [len(portion) for portion in portions] == [400, 400, 200]
