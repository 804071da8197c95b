"""The page's curves: within their frame, with gaps where nothing is known, and told in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgembedd.http.dashboard.sparkline import HEIGHT, WIDTH, Curve, curve

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
VALUES = st.lists(st.none() | st.floats(0, 1e12), max_size=70)


def drawn(values: list[float | None]) -> Curve:
    times = [START + timedelta(minutes=n) for n in range(len(values))]
    return curve("Waiting", times, values, lambda value: f"{value:g}")


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.e+]+) ([-\d.e+]+)", path)]


@given(VALUES)
def test_every_known_value_is_a_point_inside_the_frame(values: list[float | None]) -> None:
    line = drawn(values).line
    known = sum(value is not None for value in values)
    assert len(set(points(line))) == known
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(line))


@given(VALUES)
def test_a_gap_begins_a_new_piece(values: list[float | None]) -> None:
    pieces = sum(v is not None and (n == 0 or values[n - 1] is None) for n, v in enumerate(values))
    assert drawn(values).line.count("M") == pieces
    assert drawn(values).area.count("Z") == pieces


def test_more_is_higher_and_the_highest_is_told() -> None:
    told = drawn([0, None, 50, 100, 25])
    heights = [y for _, y in sorted(set(points(told.line)))]
    assert heights[0] > heights[3] > heights[1] > heights[2]
    assert told.text == "Waiting: last 25, highest 100 at 12:03 UTC"
    assert told.peak == "100 at 12:03"


def test_one_value_alone_is_a_dot() -> None:
    assert drawn([None, 5, None]).line == "M60 2 L60 2"


def test_nothing_known_is_said() -> None:
    assert drawn([None, None]) == Curve("", "", "", "Waiting: nothing is known of the last hour")
