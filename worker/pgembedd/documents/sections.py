"""Blocks of Markdown into pages: those of the file, or where there are none, sections that are long enough."""

import re
from collections.abc import Iterator

from pgembedd.documents.document import Page

LONG_ENOUGH = 1_500
"""Characters of a section after which a heading begins the next one."""
MOST = 6_000
"""Characters of a section; a longer paragraph is cut."""

_CUTS = ("\n", ". ", "。", " ")
_LIKE_HEADING = re.compile(r"^( {0,3})(?=#{1,6}\s)", re.MULTILINE)


class Sections:
    """Collects headings and blocks in order; `pages()` returns the pages.

    With `paged` a page ends where `end_page()` says, whether it holds text or not; else a section ends there, too.
    """

    def __init__(self, *, paged: bool = False) -> None:
        self._paged = paged
        self._pages: list[Page] = []
        self._ended = 0
        self._blocks: list[str] = []
        self._size = 0
        self._path: list[tuple[int, str]] = []
        self._above: tuple[str, ...] = ()

    def heading(self, level: int, text: str, *, shown: bool = True) -> None:
        """Adds a heading, with a # for each that it stands under and one more.

        `level` counts from 1, and may skip some. A heading that is not `shown` is above what follows, and not in its
        text.
        """
        text = " ".join(text.split())
        if not text:
            return
        if self._size >= LONG_ENOUGH and not self._paged:
            self.end_page()
        self._path = [(above, title) for above, title in self._path if above < level]
        if not self._blocks and shown:
            self._above = self._titles()
        self._path.append((level, text))
        if shown:
            self._add(f"{'#' * min(len(self._path), 6)} {text}")
        elif not self._blocks:
            self._above = self._titles()

    def block(self, text: str) -> None:
        """Adds a paragraph, or what else is between blank lines. What looks like a heading is none."""
        if "#" in text:
            text = _LIKE_HEADING.sub(r"\1\\", text)
        self.markdown(text)

    def markdown(self, text: str) -> None:
        """Adds a table, a fence of code or a paragraph that is Markdown already."""
        if self._paged:
            if text := text.strip("\n").rstrip():
                self._add(text)
            return
        for part in self._parts(text):
            self._whole(part)

    def code(self, text: str) -> None:
        """Adds text whose lines and spaces count."""
        for part in self._parts(text):
            self._whole(f"```\n{part}\n```")

    def table(self, rows: list[list[str]]) -> None:
        """Adds a table, whose first row is its header: each page that it is cut into has that."""
        rows = [row for row in rows if any(map(str.strip, row))]
        width = max(map(len, rows), default=0)
        if width < 2 or len(rows) < 2:  # made for the layout
            for cell in (cell for row in rows for cell in row):
                self.block(cell)
            return
        header, *lines = (_row(row, width) for row in rows)
        header += "\n" + "|" + " --- |" * width
        part: list[str] = []
        size = len(header)
        for line in lines:
            if part and size + len(line) > MOST and not self._paged:
                self._whole("\n".join([header, *part]))
                part, size = [], len(header)
            part.append(line)
            size += len(line) + 1
        self._whole("\n".join([header, *part]))

    def end_page(self, *, forget: bool = False) -> None:
        """Ends the page: what follows is on the next one, and with `forget` under no heading."""
        if self._paged or self._blocks:
            self._ended += 1
        if self._blocks:
            self._pages.append(Page(self._ended, self._above, "\n\n".join(self._blocks)))
        if forget:
            self._path = []
        self._blocks, self._size, self._above = [], 0, self._titles()

    def pages(self) -> tuple[Page, ...]:
        """Returns the pages that hold text."""
        self.end_page()
        return tuple(self._pages)

    def _parts(self, text: str) -> Iterator[str]:
        """Yields a text without blank lines around it, cut where it is longer than a section."""
        text = text.strip("\n").rstrip()
        if text and (self._paged or len(text) <= MOST):
            yield text
            return
        begin = 0
        while len(text) - begin > MOST:
            end = _cut(text, begin)
            if part := text[begin:end].strip("\n").rstrip():
                yield part
            begin = end
        if rest := text[begin:].strip("\n"):
            yield rest

    def _whole(self, text: str) -> None:
        if self._size + len(text) > MOST and not self._paged:
            self.end_page()
        self._add(text)

    def _add(self, text: str) -> None:
        self._blocks.append(text)
        self._size += len(text) + 2

    def _titles(self) -> tuple[str, ...]:
        return tuple(title for _, title in self._path)


def _cut(text: str, begin: int) -> int:
    """Returns where a text is cut: after the last line, sentence or word of its next MOST characters."""
    for mark in _CUTS:
        if (found := text.rfind(mark, begin + MOST // 2, begin + MOST - len(mark))) >= 0:
            return found + len(mark)
    return begin + MOST


def _row(cells: list[str], width: int) -> str:
    texts = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |" + "  |" * (width - len(cells))
