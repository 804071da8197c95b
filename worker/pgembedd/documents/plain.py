"""Plain text in any encoding, and Markdown."""

import codecs
import re

from charset_normalizer import from_bytes

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
    guess = from_bytes(file[:_SAMPLE]).best()
    if guess is None:
        raise UnreadableFile("The file is of no kind that is known, and no text in any encoding.")
    return _decoded(file, guess.encoding)


def read_text(file: bytes) -> Document:
    """Reads text; headings count where they are written as in Markdown."""
    text = decode(file).replace("\r\n", "\n").replace("\r", "\n")
    sections = Sections()
    add_markdown(sections, text)
    return Document("text", sections.pages(), {})


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
            sections.block("\n".join(block))
            block = []
            if heading := _HEADING.fullmatch(line):
                sections.heading(len(heading[1]), heading[2])
            continue
        block.append(line)
    sections.block("\n".join(block))


def _decoded(file: bytes, encoding: str) -> str:
    try:
        return file.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"The file is no text in {encoding}: byte {error.start:,} does not fit.") from error
