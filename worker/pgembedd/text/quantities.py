"""Formats durations, shares and counts for the command line and the page."""

from decimal import Decimal
from math import floor


def share(coverage: Decimal | float | None) -> str:
    """Returns a share in per cent, rounded down, so that 100 % is complete."""
    if coverage is None:
        return "?"
    return "100 %" if coverage == 1 else f"{floor(Decimal(str(coverage)) * 1000) / 10:.1f} %"


def age(seconds: float | None) -> str:
    """Returns a duration in the largest fitting unit: seconds, minutes, hours or days."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Returns the number with its noun: 1 job, 2 jobs."""
    return f"{number} {one if number == 1 else several or one + 's'}"
