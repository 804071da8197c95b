"""A result, and results as Markdown tables: three digits that count, seconds in the unit that suits them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""


@dataclass(frozen=True)
class Result:
    """One case: the median of its repetitions, and its ratio to the case it is compared with."""

    bench: str
    case: str
    value: float
    unit: str
    spread: tuple[float, float]
    ratio_to: str | None = None
    ratio: float | None = None


def digits(value: float, count: int = 3) -> str:
    """With so many digits that count, in groups of three, never with an exponent."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = count - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def number(value: float, unit: str) -> str:
    """A value of that unit, for where the unit stands elsewhere; seconds bring theirs."""
    if unit == "s":
        suited = ((1, "s"), (1e3, "ms"))
        factor, shown = next((each for each in suited if value == 0 or abs(value) * each[0] >= 1), (1e6, "µs"))
        return f"{digits(value * factor)} {shown}"
    if unit == "%":
        return f"{value:.1f}"
    if unit == "cosine":
        return f"{value:.5f}"
    return digits(value, 3 if unit else 4)


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit in ("s", "cosine"):
        return number(value, unit)
    between = "" if unit in ("", TIMES) else " "
    return f"{number(value, unit)}{between}{unit.replace('us', 'µs')}"


def tables(results: Sequence[Result]) -> str:
    """A table for each unit; columns that none of its cases fills are left out."""
    units = dict.fromkeys(each.unit for each in results)
    return "\n\n".join(_of_unit([each for each in results if each.unit == unit]) for unit in units)


def _of_unit(results: Sequence[Result]) -> str:
    columns = {
        "case": [each.case for each in results],
        ">value": [amount(each.value, each.unit) for each in results],
        ">lowest - highest": [_spread(each) for each in results],
        ">ratio": ["" if each.ratio is None else f"{each.ratio:.2f}" for each in results],
        "to": [each.ratio_to or "" for each in results],
    }
    return table({name: cells for name, cells in columns.items() if any(cells)})


def _spread(result: Result) -> str:
    low, high = (number(each, result.unit) for each in result.spread)
    return "" if low == high else f"{low} - {high}"


def table(columns: dict[str, list[str]]) -> str:
    """A Markdown table; the cells of a column whose name begins with > stand at its right."""
    ruler = ["---:" if name.startswith(">") else "---" for name in columns]
    rows = zip(*([cell.replace("|", "\\|") for cell in cells] for cells in columns.values()), strict=True)
    return "\n".join(f"| {' | '.join(row)} |" for row in [[name.lstrip(">") for name in columns], ruler, *rows])
