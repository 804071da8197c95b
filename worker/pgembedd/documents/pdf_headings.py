"""The lines of a PDF that are headings: those that its outline names, else those in larger letters than most."""

import re
from collections import Counter
from dataclasses import dataclass

from pgembedd.documents.pdf_lines import LARGER, Line

_LONGEST = 160
_MOST_SHARE = 0.2
"""Of a file's characters in larger letters: above, they are no headings."""
_LEVELS = 4
_NUMBERING = re.compile(r"[^\W\d]{4,9}[\divxlc]+|[\divxlc]*|[a-z]\d*")
"""What may stand before a heading's title on its line, without spaces and points: "chapter12", "a1"."""
_NUMBERING_LENGTH = 18
_LETTERS = re.compile(r"[^\W\d_]{2}")
_NO_LETTERS = re.compile(r"\W+")
_NUMBER_ALONE = re.compile(r"(?:[^\W\d]+\s+)?(?:\d[\d.]*|[ivxlcIVXLC]+|[A-Z])[.:]?")
"""A line of its own before a title: "Chapter 12", and no end of a sentence or formula."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading that begins at a line of a page and takes `lines` of them; 0: it is in the outline alone."""

    level: int
    title: str
    line: int
    lines: int


def headings_of_outline(entries: list[tuple[int, str]], lines: list[Line]) -> list[Heading]:
    """Returns the headings of a page, whose entries in the outline are given by level and title, in order."""
    found: list[Heading] = []
    plain = [_plain(line.text) for line in lines] if entries else []
    page = "".join(plain)
    at = 0
    for level, title in entries:
        sought = _plain(title)
        place = _find(sought, plain, at, lines) if sought and sought in page else None
        if place is None:
            found.append(Heading(level, title, at, 0))
        else:
            at = place[0] + place[1]
            shown = " ".join(line.text for line in lines[place[0] : at])
            found.append(Heading(level, shown, *place))
    return found


def headings_by_size(pages: list[list[Line]], sizes: Counter[float]) -> list[list[Heading]]:
    """Returns the headings of each page by the size of letters, the largest first; none where most is large."""
    usual = max(sizes, key=sizes.__getitem__, default=0.0)
    larger = [size for size in sizes if size >= usual * LARGER > 0]
    if sum(sizes[size] for size in larger) > _MOST_SHARE * sizes.total():
        return [[] for _ in pages]
    levels = {size: min(rank, _LEVELS) for rank, size in enumerate(sorted(larger, reverse=True), 1)}
    return [_larger_lines(lines, levels) for lines in pages]


def _larger_lines(lines: list[Line], levels: dict[float, int]) -> list[Heading]:
    found: list[Heading] = []
    at = 0
    while at < len(lines):
        size, end = lines[at].size, at + 1
        if size in levels:
            while end < len(lines) and lines[end].size == size:
                end += 1
            title = " ".join(line.text for line in lines[at:end])
            if len(title) <= _LONGEST and _LETTERS.search(title):
                found.append(Heading(levels[size], title, at, end - at))
        at = end
    return found


def _find(title: str, plain: list[str], start: int, lines: list[Line]) -> tuple[int, int] | None:
    """Returns at which line a title stands and how many it takes, up to three."""
    for at in range(start, len(plain)):
        text = ""
        for end in range(at, min(at + 3, len(plain))):
            text += plain[end]
            if len(text) > len(title) + _NUMBERING_LENGTH:
                break
            before = text.removesuffix(title)
            if before == text or not _NUMBERING.fullmatch(before):
                continue
            if len(before) < len(plain[at]) or _NUMBER_ALONE.fullmatch(lines[at].text):
                return at, end - at + 1
    return None


def _plain(text: str) -> str:
    return _NO_LETTERS.sub("", text).casefold()
