"""A row's text in pieces: each chunk with what is put around it, and whether its vector is there already."""

import hashlib
from dataclasses import replace

from pgembedd.database.records import Content, Job, Piece
from pgembedd.model.embedder import Embedder
from pgembedd.text.chunker import Chunk


def chunk_row(job: Job, content: Content, model: Embedder) -> Content:
    """The content with its pieces, by the rules of the job's pipeline; as it is where rows are not cut.

    RowFailure when what is put around each chunk leaves it no room.
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
