"""Splits the text of a row into chunks, each formatted and marked if its vector is stored already."""

import hashlib
from dataclasses import replace

from pgembedd.database.records import Content, Job, Piece
from pgembedd.model.embedder import Embedder
from pgembedd.text.chunker import Chunk


def chunk_row(job: Job, content: Content, model: Embedder) -> Content:
    """Returns the content with its pieces, or unchanged where the pipeline does not chunk rows.

    RowFailure when the text around each chunk leaves no tokens for it.
    """
    rules = job.pipeline.chunking
    if rules is None or content.text is None:
        return content
    chunks = model.split(
        content.text,
        tokens=rules.tokens,
        overlap=rules.overlap,
        markdown=rules.markdown,
        before=content.before,
        after=content.after,
    )
    return replace(content, pieces=tuple(_piece(content, chunk) for chunk in chunks))


def _piece(content: Content, chunk: Chunk) -> Piece:
    text = content.before + chunk.text + content.after
    digest = hashlib.sha256(text.encode()).digest()
    return Piece(chunk, text, digest, digest in content.known)
