"""One bad row never blocks others: a batch that fails is halved until the bad row stands alone. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pgembedd.errors import RowFailure

Item = TypeVar("Item")
Value = TypeVar("Value")


def bisect(
    items: Sequence[Item], attempt: Callable[[Sequence[Item]], Sequence[Value]]
) -> list[tuple[Item, Value | RowFailure]]:
    """Each item with what `attempt` gave for it, or with the RowFailure it raises alone.

    `attempt` takes some of the items and returns one value for each, in order. For n items of which k are bad
    it is called at most 2 k log2(n) + 1 times. Errors other than RowFailure are the caller's.
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
