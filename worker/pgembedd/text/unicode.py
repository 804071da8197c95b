"""Replaces lone surrogates, which a Python string may hold though no encoding writes them, and NUL for Postgres."""

from collections.abc import Callable, Iterator
from itertools import accumulate


def well_formed(text: str) -> str:
    """Returns the text without surrogates: pairs become their character, lone ones U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def storable(text: str) -> str:
    """Returns the text as Postgres can store it: well-formed, and without NUL."""
    return well_formed(text.replace("\0", ""))


class WellFormedParts:
    """Makes a text that comes in parts well-formed: a pair split between two of them stands in the later one."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, part: str) -> str:
        """Returns what is known of the text now."""
        text = self._half + part
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        return well_formed(text.removesuffix(self._half))

    def end(self) -> str:
        """Returns U+FFFD where the last part ends with half a pair, else nothing."""
        half, self._half = self._half, ""
        return well_formed(half)


def offsets_of(text: str, well: str) -> Callable[[int], int]:
    """Returns a map of offsets from `well`, which is `well_formed(text)`, to `text`, which pairs make longer."""
    if len(well) == len(text):
        return int
    return list(accumulate(_widths(text, well), initial=0)).__getitem__


def _widths(text: str, well: str) -> Iterator[int]:
    """Yields the number of characters of `text` for each character of `well`: 2 for a pair."""
    at = 0
    for character in well:
        width = 1 if character in (text[at], "\ufffd") else 2
        yield width
        at += width
