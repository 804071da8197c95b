"""Blocks of Markdown into pages, for what has no pages: a page ends before a heading, or where it is long enough."""

from pgembedd.documents.document import Page

LONG_ENOUGH = 1_500
"""Characters after which a heading begins a page."""
MOST = 6_000
"""Characters of a page; a longer paragraph is cut."""

_CUTS = ("\n", ". ", "。", " ")


class Sections:
    """Collects headings and blocks in order; `pages()` returns the pages."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._blocks: list[str] = []
        self._size = 0
        self._path: list[tuple[int, str]] = []
        self._above: tuple[str, ...] = ()

    def heading(self, level: int, text: str) -> None:
        """Adds a heading; `level` counts from 1. A heading without text is left out."""
        text = " ".join(text.split())
        if not text:
            return
        if self._size >= LONG_ENOUGH:
            self.end_page()
        self._path = [(above, title) for above, title in self._path if above < level]
        if not self._blocks:
            self._above = self._titles()
        self._add(f"{'#' * min(level, 6)} {text}")
        self._path.append((level, text))

    def block(self, text: str) -> None:
        """Adds a paragraph, a table, a list or a fence of code as Markdown, cut into pages where it is too long."""
        text = text.strip("\n").rstrip()
        while len(text) > MOST:
            cut = _cut(text)
            self._block(text[:cut].rstrip())
            text = text[cut:].lstrip("\n")
        if text.strip():
            self._block(text)

    def end_page(self) -> None:
        """Ends the page: what follows is on the next one."""
        if self._blocks:
            self._pages.append(Page(len(self._pages) + 1, self._above, "\n\n".join(self._blocks)))
        self._blocks, self._size, self._above = [], 0, self._titles()

    def pages(self) -> tuple[Page, ...]:
        """Returns the pages, each with text."""
        self.end_page()
        return tuple(self._pages)

    def _block(self, text: str) -> None:
        if self._size + len(text) > MOST:
            self.end_page()
        self._add(text)

    def _add(self, text: str) -> None:
        self._blocks.append(text)
        self._size += len(text) + 2

    def _titles(self) -> tuple[str, ...]:
        return tuple(title for _, title in self._path)


def _cut(text: str) -> int:
    """Returns where a text is cut: after the last line, sentence or word of its first MOST characters."""
    for mark in _CUTS:
        if (found := text.rfind(mark, MOST // 2, MOST - len(mark))) >= 0:
            return found + len(mark)
    return MOST
