"""Splits the text of a row into chunks, each formatted and marked if its vector is stored already."""

import hashlib
import re

from pgembedd.database.records import Content, Job, Piece
from pgembedd.model.embedder import Embedder
from pgembedd.text.chunker import Chunk
from pgembedd.text.headings import Headings

_HEADINGS = re.compile("\x1e([^\x1e]*)\x1e")
"""Where `$headings` stands in a formatting: the headings above the content."""


def chunk_row(job: Job, content: Content, model: Embedder) -> Content:
    """Returns the content with its pieces, or unchanged where the pipeline does not chunk rows.

    RowFailure when the text around each chunk leaves no tokens for it.
    """
    rules = job.pipeline.chunking
    if rules is None or content.text is None:
        return content
    place = _HEADINGS.search(content.before) or _HEADINGS.search(content.after)
    headings = Headings(content.text, place[1].split("\x1f") if place[1] else ()) if place else Headings("")
    chunks = model.split(
        content.text,
        tokens=rules.tokens,
        overlap=rules.overlap,
        markdown=rules.markdown,
        before=_under(headings.longest(), content.before),
        after=_under(headings.longest(), content.after),
    )
    return content._replace(pieces=tuple(_piece(content, chunk, headings.at(chunk.start)) for chunk in chunks))


def _under(headings: str, text: str) -> str:
    """Returns a part of the formatting with the headings above a chunk."""
    return _HEADINGS.sub(lambda _: headings, text)


def _piece(content: Content, chunk: Chunk, headings: str) -> Piece:
    text = _under(headings, content.before) + chunk.text + _under(headings, content.after)
    digest = hashlib.sha256(text.encode()).digest()
    return Piece(chunk, text, digest, digest in content.known)
