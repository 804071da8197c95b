"""Embeds the texts of rows again and compares the vectors with the stored ones."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pgembedd.database.records import Content, Job, Piece, ServedPipeline
from pgembedd.errors import ProviderBusyError, ProviderRefusedError, RowFailure
from pgembedd.loop.chunk_rows import chunk_row
from pgembedd.model.embedder import Embedder
from pgembedd.verify.report import Verdict
from pgembedd.verify.similarity import Agreement, compare
from pgembedd.verify.snapshot import Row, StoredChunk

Comparison = tuple[Verdict, float]
VERDICTS: dict[Agreement, Verdict] = {
    "right": "right",
    "elsewhere": "stale",
    "unknown": "unknown",
    "corrupted": "corrupted",
}


def compare_vectors(
    rows: Sequence[Row], _pipeline: ServedPipeline, embedder: Embedder, tolerance: float
) -> list[Comparison]:
    """Returns the verdict on each row with a vector column, and the cosine to the right vector (0 without either)."""
    embedded = [row for row in rows if row.state == "ok" and row.vectors]
    fresh = _embed([row.text or "" for row in embedded], embedder)
    pairs = [(row, vector) for row, vector in zip(embedded, fresh, strict=True) if vector is not None]
    compared = compare(
        [row.vectors[0] for row, _ in pairs], np.array([vector for _, vector in pairs]), tolerance, among=True
    )
    found = {
        row.id: (VERDICTS[agreement], cosine) for (row, _), (agreement, cosine) in zip(pairs, compared, strict=True)
    }
    return [found.get(row.id) or (_verdict_without_vector(row), 0.0) for row in rows]


def compare_chunks(
    rows: Sequence[Row], pipeline: ServedPipeline, embedder: Embedder, tolerance: float
) -> list[Comparison]:
    """Returns the verdict on each row with an embedding table, which stores the text and the model of each chunk."""
    return [_compare_row(row, pipeline, embedder, tolerance) for row in rows]


def _compare_row(row: Row, pipeline: ServedPipeline, embedder: Embedder, tolerance: float) -> Comparison:
    if row.state != "ok" or not row.vectors:
        return _verdict_without_vector(row), 0.0
    content = Content("ok", row.text, row.hash or b"", row.before, row.after)
    try:
        pieces = chunk_row(Job("", 0, 0, row.id, False, pipeline), content, embedder).pieces or ()
    except RowFailure:
        return "unreadable", 0.0
    if any(chunk.model != embedder.fingerprint for chunk in row.chunks):
        return "foreign", 0.0
    if [_expected_chunk(no, piece, embedder) for no, piece in enumerate(pieces)] != list(row.chunks):
        return "stale", 0.0
    fresh = [vector for vector in _embed([piece.text for piece in pieces], embedder) if vector is not None]
    if len(fresh) < len(pieces):
        return "unreadable", 0.0
    found = compare(row.vectors, np.array(fresh), tolerance, among=False)
    return ("right" if all(agreement == "right" for agreement, _ in found) else "corrupted"), 0.0


def _expected_chunk(no: int, piece: Piece, embedder: Embedder) -> StoredChunk:
    digest = hashlib.sha256(piece.text.encode()).digest()
    return StoredChunk(no, piece.chunk.start, piece.chunk.end, digest, embedder.fingerprint)


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
