"""Reads a file: its kind by content, its text by the reader of that kind, and whether that is text."""

from pgembedd.documents.document import Document
from pgembedd.documents.errors import UnreadableFile
from pgembedd.documents.plain import read_text


def read(file: bytes, text_bytes: int) -> Document:
    """Returns the document; UnreadableFile for one without text, or with more than `text_bytes`."""
    document = read_text(file)
    if sum(len(page.text.encode()) for page in document.pages) > text_bytes:
        raise UnreadableFile(f"The file holds more than {text_bytes / 1e6:,.0f} MB of text (PGEMBEDD_FILE_MAX_MB).")
    if not document.pages:
        raise UnreadableFile("The file holds no text.")
    return document
