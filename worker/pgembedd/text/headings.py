"""The headings that stand above a place in Markdown."""

import re
from bisect import bisect_right
from collections.abc import Sequence

_FENCE = re.compile(r"^(```|~~~).*?(?:^\1|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.*)$", re.MULTILINE)
MOST_CHARACTERS = 300
"""Of the headings above a place: the outermost are left out where they are longer."""


class Headings:
    """The headings of a Markdown text, and those that all of it stands under, as `_search_headings()` in SQL."""

    def __init__(self, text: str, above: Sequence[str] = ()) -> None:
        path = list(above)
        self._starts, self._written = [0], [_written(path)]
        end = -1
        for found in _HEADING.finditer(_FENCE.sub(lambda fence: " " * len(fence[0]), text)):
            path = [*path[: len(found[1]) - 1], found[2].rstrip(" \t")]
            if text[max(end, 0) : found.start()].strip() or end < 0 < found.start():
                self._starts.append(found.start())
                self._written.append(_written(path))
            else:  # nothing stands between it and the one before, or the beginning
                self._written[-1] = _written(path)
            end = found.end()

    def at(self, start: int) -> str:
        """Returns the headings above a character, and those that follow each other from there, outermost first."""
        return self._written[bisect_right(self._starts, start) - 1]

    def longest(self) -> str:
        """Returns the longest that `at` returns."""
        return max(self._written, key=len)


def _written(path: list[str]) -> str:
    while len(written := " › ".join(path)) > MOST_CHARACTERS and len(path) > 1:  # noqa: RUF001
        path = path[1:]
    return written[:MOST_CHARACTERS]
