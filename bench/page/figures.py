"""How figures are written: three digits that count, seconds in the unit that suits them."""

import math

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""
MICROSECONDS = "µs"


def digits(value: float, count: int = 3) -> str:
    """With so many digits that count, in groups of three, never with an exponent."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = count - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:,.{max(0, decimals)}f}"


def number(value: float, unit: str) -> str:
    """A value of that unit, for where the unit stands elsewhere; seconds bring theirs."""
    if unit == "s":
        return _seconds(value)
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
    return f"{number(value, unit)}{between}{unit.replace('us', MICROSECONDS)}"


def spread(low: float, high: float, unit: str) -> str:
    """From the lowest to the highest, without the unit; nothing where they are one."""
    return "" if low == high else f"{number(low, unit)} - {number(high, unit)}"


def _seconds(value: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, MICROSECONDS)):
        if value == 0 or abs(value) * factor >= 1 or unit == MICROSECONDS:
            return f"{digits(value * factor)} {unit}"
    raise AssertionError("unreachable")
