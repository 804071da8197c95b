"""How lengths of time and shares are said to people, on the command line and on the page."""

from datetime import timedelta
from decimal import Decimal
from math import floor


def share(coverage: Decimal | None) -> str:
    """In per cent, rounded down: 100 % is all of it."""
    if coverage is None:
        return "?"
    return "100 %" if coverage == 1 else f"{floor(coverage * 1000) / 10:.1f} %"


def age(age: timedelta | None) -> str:
    """Seconds, minutes, hours or days: the largest that fits."""
    if age is None:
        return "-"
    seconds = age.total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def counted(number: int, one: str, several: str | None = None) -> str:
    """The number with its noun: 1 job, 2 jobs."""
    return f"{number} {one if number == 1 else several or one + 's'}"
