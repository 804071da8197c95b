"""Splits a failing batch in halves until only the bad rows fail. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pgembedd.errors import RowFailure

Item = TypeVar("Item")
Value = TypeVar("Value")


def bisect(
    items: Sequence[Item], attempt: Callable[[Sequence[Item]], Sequence[Value]]
) -> list[tuple[Item, Value | RowFailure]]:
    """Returns each item with the value of `attempt`, or with the RowFailure that it raises by itself.

    `attempt` takes some of the items and returns one value for each, in order. For n items of which k are bad
    it is called at most 2 k log2(n) + 1 times. Other errors propagate.
    """
    if not items:
        return []
    try:
        return list(zip(items, attempt(items), strict=True))
    except RowFailure as failure:
        if len(items) == 1:
            return [(items[0], failure)]
    half = len(items) // 2
    return bisect(items[:half], attempt) + bisect(items[half:], attempt)
