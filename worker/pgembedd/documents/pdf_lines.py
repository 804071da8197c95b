"""The lines of a PDF's page: text, size of its letters, and whether a paragraph begins."""

import ctypes
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

import pypdfium2.raw as pdfium

_LINE = re.compile(r"[^\r\n]*[^\r\n\s][^\r\n]*")
_HYPHEN = "\ufffe"
"""What PDFium gives for a hyphen at the end of a line, which it joins with the next one."""
_BULLET = re.compile(r"^[•▪◦‣●∙■]\s*")
LARGER = 1.15
"""Of the usual size: that of headings."""
_WIDER_GAP = 1.35
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


def without_running_titles(pages: list[list[Line]]) -> list[list[Line]]:
    """Returns the pages without first and last lines that are page numbers, or that several pages have."""
    sizes = characters_by_size(pages)
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
    sizes: Counter[float] = Counter()
    for line in (line for lines in pages for line in lines):
        sizes[line.size] += len(line.text)
    return sizes


def _mark(line: Line) -> str:
    """Returns what running titles of several pages have in common: a page's number apart, the text."""
    return re.sub(r"\d+|^[ivxlc]+$", "#", line.text)


def _lines(text_page: "pdfium.FPDF_TEXTPAGE") -> list[Line]:
    count = pdfium.FPDFText_CountChars(text_page)
    buffer = (ctypes.c_ushort * (count + 1))()
    pdfium.FPDFText_GetText(text_page, 0, count, buffer)
    units = bytes(buffer)
    text = units.decode("utf-16-le", "replace").partition("\0")[0]
    has_pairs = len(text) * 2 + 2 < len(units) and any(ord(letter) > 0xFFFF for letter in text)
    matrix = pdfium.FS_MATRIX()
    lines = []
    for found in _LINE.finditer(text):
        line = found[0]
        size = y = 0.0
        if not has_pairs:
            start = found.start() + len(line) - len(line.lstrip())
            index = pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, start)
            if index >= 0 and pdfium.FPDFText_GetMatrix(text_page, index, matrix):
                size = pdfium.FPDFText_GetFontSize(text_page, index) * hypot(matrix.c, matrix.d)
                y = matrix.f
        lines.append(Line(_BULLET.sub("- ", line.replace(_HYPHEN, "").strip()), round(2 * size) / 2, y))
    return lines


def _with_paragraphs(lines: list[Line]) -> list[Line]:
    """Marks the lines that begin a paragraph: another size, a wider gap, or further up, in the next column."""
    gaps = Counter(round(above.y - below.y) for above, below in pairwise(lines))
    usual = next((gap for gap, _ in gaps.most_common() if gap > 0), 0)
    for above, below in pairwise(lines):
        gap = above.y - below.y
        below.begins_paragraph = above.size != below.size or gap < -1 or (0 < usual * _WIDER_GAP < gap)
    return lines
