"""`pgembedd status` for people: a line a pipeline, in a terminal of a hundred columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from pgembedd.cli.status import DISPENSABLE, _fitting, _table
from pgembedd.text.quantities import age, counted, share


def row(**values: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(
        ("queued", "queued_backfill", "failing", "dead", "blank", "truncated", "rows_per_minute"), 0
    )
    others = {"pipeline": "documents", "state": "running", "reason": None, "oldest_age_s": None, "index": "valid"}
    more = {"queued_estimated": False, "coverage": 1.0, "lag_s": None, "time_left_s": None}
    return {**numbers, **others, **more, **values}


def shown(*rows: dict[str, Any]) -> list[str]:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(_table(list(rows)))
    return capture.get().splitlines()


def test_large_numbers_keep_a_line_each() -> None:
    large = {"queued": 1246912, "queued_backfill": 1234567, "failing": 123, "dead": 12345, "blank": 123456}
    times = {"oldest_age_s": 20 * 3600, "lag_s": 13 * 60, "time_left_s": 2 * 3600, "rows_per_minute": 12345.6}
    lines = shown(row(), row(coverage=0.0123, truncated=12345, **large, **times))
    assert len(lines) == 3
    assert " ".join(lines[1].split()) == "documents running 100 % 0 0 - 0 0 0 0 0 - -"
    assert " ".join(lines[2].split()[2:]) == "1.2 % 1246912 1234567 20 h 123 12345 123456 12345 12345.6 2 h 13 min"


def test_an_estimate_is_marked() -> None:
    assert "~1246912" in shown(row(queued=1246912, queued_estimated=True))[1].split()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(100, []), (80, ["cut", "blank"]), (60, [*DISPENSABLE[:5]]), (40, [*DISPENSABLE[:8]])],
)
def test_a_narrow_terminal_gets_fewer_columns_and_none_is_torn(width: int, left_out: list[str]) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(_fitting([row()], console))
    header, line, *note = capture.get().splitlines()
    assert not set(left_out) & set(header.split())
    assert line.split()[:2] == ["documents", "running"]
    assert "…" not in header + line
    told = " ".join(each.strip() for each in note)
    assert told.startswith(f"Too narrow for: {', '.join(left_out)}." if left_out else "")


def test_the_narrowest_table_keeps_the_name_and_what_is_stuck() -> None:
    console = Console(width=40)
    with console.capture() as capture:
        long = row(pipeline="articles_of_the_year", queued=123, queued_backfill=120, dead=2, coverage=None)
        console.print(_fitting([long], console))
    header, line, *note = capture.get().splitlines()
    assert header.split() == ["pipeline", "state", "queued", "dead"]
    assert line.split() == ["articles_of_the_yea", "running", "123", "2"]
    told = " ".join(each.strip() for each in note)
    assert "done is ?" not in told


def test_one_is_no_plural() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert counted(1, "worker answers", "workers answer") == "1 worker answers"


@pytest.mark.parametrize(
    ("coverage", "text"),
    [("1", "100 %"), ("0.9999", "99.9 %"), ("0.5", "50.0 %"), ("0.0004", "0.0 %"), (None, "?")],
)
def test_only_all_of_it_is_a_hundred_per_cent(coverage: str | None, text: str) -> None:
    assert share(Decimal(coverage) if coverage else None) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.31, "0.3 s"), (9.96, "10.0 s"), (45, "45 s"), (119, "119 s"), (120, "2 min"), (172800, "2 d")],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text
