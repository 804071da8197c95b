"""Plain text in any encoding, and Markdown."""

import codecs
import re

import cchardet

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.sections import Sections

_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_SAMPLE = 200_000
"""Bytes that an encoding is guessed from."""
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*\s*")
_TITLE = re.compile(r"(?:^|\n\n) {0,3}#{1,6} +[^\s#][^\n]*(?=\n\n|\n?$)")
"""A heading between blank lines: a comment of a program seldom stands so."""
_BLANK = re.compile(r"\n[ \t]*(?=\n)|\f")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


def decode(file: bytes, declared: str = "") -> str:
    """Returns the text in the encoding that the file states, else UTF-8, else one that is guessed."""
    for mark, encoding in _MARKS:
        if file.startswith(mark):
            return _decoded(file, encoding)
    for encoding in filter(None, ("utf-8", declared)):
        try:
            return file.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    sample = file[:_SAMPLE]
    if b"\0" in sample:
        return _decoded(file, _two_bytes(sample))
    for guess in (cchardet.detect(sample)["encoding"] or "", "cp1252"):
        try:
            return file.decode(guess)
        except (UnicodeDecodeError, LookupError):
            continue
    raise _unknown()


def _two_bytes(sample: bytes) -> str:
    """Returns UTF-16 by where its zeros are: Latin letters, spaces and ends of lines have one, first or second."""
    first, second = sample[::2].count(0), sample[1::2].count(0)
    least = len(sample) // 20
    if min(first, second) > least or max(first, second) <= least:
        raise _unknown()
    return "utf-16-le" if second > first else "utf-16-be"


def _unknown() -> UnreadableFile:
    return UnreadableFile("The file is of no kind that is known, and no text in any encoding.")


def read_text(file: bytes) -> Document:
    """Reads text, as Markdown where it has a heading of that and no first line of a program."""
    text = _lines(decode(file))
    sections = Sections()
    is_markdown = not text.startswith("#!") and _TITLE.search(text)
    if is_markdown:
        add_markdown(sections, text)
    else:
        add_paragraphs(sections, text)
    return Document("markdown" if is_markdown else "text", sections.pages(), {})


def add_paragraphs(sections: Sections, text: str) -> None:
    """Adds a text by its paragraphs."""
    for paragraph in _BLANK.split(_lines(text)):
        sections.block(paragraph)


def add_markdown(sections: Sections, text: str) -> None:
    """Adds a text by its headings and paragraphs."""
    block: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip().startswith(fence):
            fence = ""
        elif not fence and (not line.strip() or _HEADING.fullmatch(line)):
            sections.markdown("\n".join(block))
            block = []
            if heading := _HEADING.fullmatch(line):
                sections.heading(len(heading[1]), heading[2])
            continue
        block.append(line)
    sections.markdown("\n".join(block))


def _lines(text: str) -> str:
    """Returns a text whose lines end as in Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(file: bytes, encoding: str) -> str:
    try:
        return file.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"The file is no text in {encoding}: byte {error.start:,} does not fit.") from error
