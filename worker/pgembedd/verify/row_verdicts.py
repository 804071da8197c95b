"""Gives the verdict on rows: embeds their texts again and compares the vectors with the stored ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pgembedd.database.records import Content, Job, ServedPipeline
from pgembedd.errors import ProviderBusyError, ProviderRefusedError, RowFailure
from pgembedd.loop.chunk_rows import chunk_row
from pgembedd.model.embedder import Embedder
from pgembedd.verify.report import Verdict
from pgembedd.verify.snapshot import Row, StoredChunk
from pgembedd.verify.vector_verdicts import Judged, vector_verdicts


def row_verdicts(rows: Sequence[Row], pipeline: ServedPipeline, embedder: Embedder, tolerance: float) -> list[Judged]:
    """Returns the verdict on each row, and the cosine of its vector in a column to the right one (0 without either)."""
    if pipeline.chunking is not None:  # each chunk is stored with its text and model
        return [(_verdict_on_chunks(row, pipeline, embedder, tolerance), 0.0) for row in rows]
    embedded = [row for row in rows if row.state == "ok" and row.vectors]
    fresh = _embed([row.text or "" for row in embedded], embedder)
    pairs = [(row, vector) for row, vector in zip(embedded, fresh, strict=True) if vector is not None]
    stored, right = [row.vectors[0] for row, _ in pairs], np.array([vector for _, vector in pairs])
    judged = vector_verdicts(stored, right, tolerance, among=True)
    found = {row.id: each for (row, _), each in zip(pairs, judged, strict=True)}
    return [found.get(row.id) or (_verdict_without_vector(row), 0.0) for row in rows]


def _verdict_on_chunks(row: Row, pipeline: ServedPipeline, embedder: Embedder, tolerance: float) -> Verdict:
    if row.state != "ok" or not row.vectors:
        return _verdict_without_vector(row)
    content = Content("ok", row.text, row.hash or b"", row.before, row.after)
    try:
        pieces = chunk_row(Job("", 0, 0, row.id, False, pipeline), content, embedder).pieces or ()
    except RowFailure:
        return "unreadable"
    model = pipeline.fingerprint or embedder.fingerprint
    if any(chunk.model != model for chunk in row.chunks):
        return "foreign"
    expected = [StoredChunk(no, one.chunk.start, one.chunk.end, one.hash, model) for no, one in enumerate(pieces)]
    if expected != list(row.chunks):
        return "stale"
    fresh = [vector for vector in _embed([piece.text for piece in pieces], embedder) if vector is not None]
    if len(fresh) < len(pieces):
        return "unreadable"
    judged = vector_verdicts(row.vectors, np.array(fresh), tolerance, among=False)
    return "right" if all(verdict == "right" for verdict, _ in judged) else "corrupted"


def verdict_on_pages(row: Row, parser: str) -> Verdict:
    """Returns the verdict on the pages of a file, which the row has as chunks: are they of this file and parser?"""
    if row.state != "ok" or not row.chunks:
        return _verdict_without_vector(row)
    if any(page.hash != row.hash for page in row.chunks):
        return "stale"
    return "right" if all(page.model == parser for page in row.chunks) else "foreign"


def _verdict_without_vector(row: Row) -> Verdict:
    """Returns the verdict on a row whose vector was not compared."""
    if row.noted == "dead":
        return "dead"
    if row.state == "blank":
        return "stale" if row.vectors else "blank"
    if row.state == "gone":
        return "orphaned" if row.vectors else "in_flight"
    return "missing" if row.state == "ok" and not row.vectors else "unreadable"


def _embed(texts: Sequence[str], embedder: Embedder) -> list[npt.NDArray[np.float32] | None]:
    """Returns the vectors of the texts; None for a text on which the model fails."""
    if not texts:
        return []
    try:
        return list(embedder.start(texts).result().vectors)
    except (ProviderBusyError, ProviderRefusedError):  # of the whole pipeline, and each request may cost
        raise
    except Exception:  # a model may raise anything; like a worker, this tries each text by itself
        return [None] if len(texts) == 1 else [vector for text in texts for vector in _embed([text], embedder)]
