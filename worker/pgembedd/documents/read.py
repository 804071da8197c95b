"""Reads a file: its kind by content, its text by the reader of that kind, and whether that is text."""

import re
from dataclasses import replace

from pgembedd.documents.document import Document, Page
from pgembedd.documents.epub import read_epub
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.html import read_html
from pgembedd.documents.kinds import kind_of, kind_of_archive
from pgembedd.documents.mail import read_mail
from pgembedd.documents.opendocument import read_opendocument
from pgembedd.documents.package import Package
from pgembedd.documents.pdf import read_pdf
from pgembedd.documents.plain import read_text
from pgembedd.documents.slides import read_pptx
from pgembedd.documents.spreadsheets import read_ole, read_workbook
from pgembedd.documents.word import read_docx
from pgembedd.text.unicode import well_formed

_READERS = {"pdf": read_pdf, "ole": read_ole, "html": read_html, "text": read_text}
_OF_PACKAGES = {"docx": read_docx, "pptx": read_pptx, "epub": read_epub}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\xad\ufeff]")
"""But for ends of lines and tabs; soft hyphens and marks of byte order are as invisible."""
_MOST_LOST = 0.02
"""Of the characters: a file with more of them unreadable is no text."""
_DEEPEST = 3
"""An attachment of an attachment of an attachment."""


def read(file: bytes, text_bytes: int, depth: int = 0) -> Document:
    """Returns the document; UnreadableFile for one without text, or with more than `text_bytes`.

    `depth` counts the messages that it is attached to.
    """
    kind = kind_of(file) if depth <= _DEEPEST else "attached too deeply"
    if kind == "mail":
        document = read_mail(file, lambda attached: read(attached, text_bytes, depth + 1))
    elif kind == "zip":
        document = _read_package(Package(file, text_bytes))
    elif kind in _READERS:
        document = _READERS[kind](file)
    else:
        raise UnreadableFile(f"The file is {kind}; no text is read of it.")
    return _checked(document, text_bytes)


def _read_package(package: Package) -> Document:
    kind = kind_of_archive(package.names, package.part("mimetype"))
    if kind in _OF_PACKAGES:
        return _OF_PACKAGES[kind](package)
    if kind in ("xlsx", "ods"):
        return read_workbook(package, kind)
    if kind in ("odt", "odp"):
        return read_opendocument(package, kind)
    raise UnreadableFile("The file is a ZIP archive, and no document: store what is inside.")


def _checked(document: Document, text_bytes: int) -> Document:
    """Returns the document without what Postgres cannot store; UnreadableFile where what is left is no text."""
    characters = lost = size = 0
    pages = []
    for page in document.pages:
        text = _storable(page.text)
        characters += len(page.text)
        lost += text.count("\ufffd") + len(page.text) - len(text)
        size += len(text.encode())
        pages.append(Page(page.number, tuple(map(_storable, page.headings)), text))
    if size > text_bytes:
        raise UnreadableFile(f"The file holds more than {text_bytes / 1e6:,.0f} MB of text (PGEMBEDD_FILE_MAX_MB).")
    pages = [page for page in pages if page.text.strip()]
    if not pages:
        raise UnreadableFile("The file holds no text.")
    if lost > _MOST_LOST * characters:
        raise UnreadableFile(
            f"{lost:,} of the file's {characters:,} characters cannot be read: it does not say which letters they are."
        )
    notes = [*map(_storable, document.notes)]
    notes += [f"{lost:,} of {characters:,} characters cannot be read."] if lost else []
    metadata = {name: _storable_value(value) for name, value in document.metadata.items() if value}
    return replace(document, pages=tuple(pages), metadata=metadata, notes=tuple(notes))


def _storable(text: str) -> str:
    """Returns a text without control characters, and with U+FFFD for halves of a pair."""
    return well_formed(_CONTROLS.sub("", text))


def _storable_value(value: str | int | list[str]) -> str | int | list[str]:
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return _storable(value) if isinstance(value, str) else value
