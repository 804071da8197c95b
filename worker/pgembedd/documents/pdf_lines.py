"""The lines of a PDF's page: text, size of its letters, and whether a paragraph begins."""

import ctypes
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

import pypdfium2.raw as pdfium

_HYPHEN = "\ufffe"
"""What PDFium gives for a hyphen at the end of a line, which it joins with the next one."""
_NUMBER = re.compile(r"\d+|^[ivxlc]+$")
_BULLETS = frozenset("•▪◦‣●∙■")
LARGER = 1.15
"""Of the usual size: that of headings."""
_LIKE = 1.1
"""How much larger the letters of one paragraph may be on another line: what was scanned varies."""
_WIDER_GAP = 1.3
"""A gap between two lines that is as much larger than the letters' usual one begins a paragraph."""


@dataclass(slots=True)
class Line:
    """A line; `size` is that of its first letter in points, 0 where it is not known, and `y` its height on the page."""

    text: str
    size: float
    y: float
    begins_paragraph: bool = False


def lines_of(page: "pdfium.FPDF_PAGE") -> list[Line]:
    """Returns the lines of a page that PDFium has loaded, in the order of the file."""
    text_page = pdfium.FPDFText_LoadPage(page)
    if not text_page:
        return []
    try:
        return _with_paragraphs(_lines(text_page))
    finally:
        pdfium.FPDFText_ClosePage(text_page)


def without_running_titles(pages: list[list[Line]], sizes: Counter[float]) -> list[list[Line]]:
    """Returns the pages without first and last lines that are page numbers, or that several pages have.

    `sizes` is characters_by_size() of them.
    """
    largest = LARGER * max(sizes, key=sizes.__getitem__, default=0.0)
    seen = Counter(mark for lines in pages for mark in {_mark(line) for line in (*lines[:1], *lines[-1:])})
    repeated = {mark for mark, times in seen.items() if times > (1 if "#" in mark else 2)}
    cut = []
    for lines in pages:
        first, last = 0, len(lines)
        if lines and lines[-1].size < largest and _mark(lines[-1]) in repeated:
            last -= 1
        if first < last and lines[0].size < largest and _mark(lines[0]) in repeated:
            first += 1
        cut.append(lines[first:last] or lines)
    return cut


def characters_by_size(pages: list[list[Line]]) -> Counter[float]:
    """Returns how many characters are in lines of each size in points."""
    sizes: defaultdict[float, int] = defaultdict(int)
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return Counter(sizes)


def _mark(line: Line) -> str:
    """Returns what running titles of several pages have in common: a page's number apart, the text."""
    return _NUMBER.sub("#", line.text)


def _lines(text_page: "pdfium.FPDF_TEXTPAGE") -> list[Line]:
    count = pdfium.FPDFText_CountChars(text_page)
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium.FPDFText_GetText(text_page, 0, count, buffer)
    text = bytes(buffer)[: 2 * (written - 1)].decode("utf-16-le", "replace")
    has_pairs = len(text) != written - 1  # letters of two units, after which no index is right
    is_same = written - 1 == count
    matrix = pdfium.FS_MATRIX()
    matrix_at = ctypes.byref(matrix)
    read_matrix, font_size = pdfium.FPDFText_GetMatrix, pdfium.FPDFText_GetFontSize
    lines: list[Line] = []
    end = -1
    for whole in text.split("\n"):
        begin, end = end + 1, end + 1 + len(whole)
        line, size, y = whole.strip(), 0.0, 0.0
        if not line:
            continue
        if not has_pairs:
            at = begin if whole[0] == line[0] else begin + len(whole) - len(whole.lstrip())
            index = at if is_same else pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, at)
            if index >= 0 and read_matrix(text_page, index, matrix_at):
                size = round(2 * font_size(text_page, index) * hypot(matrix.c, matrix.d)) / 2
                y = matrix.f
        if _HYPHEN in line and not (line := line.replace(_HYPHEN, "")):
            continue
        if line[0] in _BULLETS:
            line = f"- {line[1:].lstrip()}"
        lines.append(Line(line, size, y))
    return lines


def _with_paragraphs(lines: list[Line]) -> list[Line]:
    """Marks the lines that begin a paragraph: another size, a wider gap, or further up, in the next column."""
    gaps = [(above.y - below.y, above.size, below.size) for above, below in pairwise(lines)]
    tenths = Counter([int(10 * gap / size) for gap, _, size in gaps if gap > 0 and size])
    widest = _WIDER_GAP * (max(tenths, key=tenths.__getitem__, default=10) + 1) / 10
    for number, (gap, above, size) in enumerate(gaps, 1):
        if gap > widest * size or gap < -1 or size > above * _LIKE or above > size * _LIKE:
            lines[number].begins_paragraph = True
    return lines
