"""Converts the pieces of several rows into array parameters with one element per chunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pgembedd.database.records import Piece, Result, Vector
from pgembedd.database.vector_codec import Blobs, Integers, Texts, Vectors


@dataclass(frozen=True, slots=True)
class _Row:
    """A chunk of job number `job` (from 1), with its vector unless the database has it."""

    job: int
    no: int
    piece: Piece
    vector: Vector | None


def chunk_arrays(results: Sequence[Result]) -> dict[str, Any]:
    """Returns the parameters of `store_chunks` with one element per chunk, all of the same length."""
    rows = [row for job, result in enumerate(results, start=1) for row in _rows(job, result)]
    vectors = [row.vector for row in rows]
    return {
        "chunk_jobs": Integers([row.job for row in rows]),
        "chunk_indexes": Integers([row.no for row in rows]),
        "chunks": Texts([row.piece.chunk.text for row in rows]),
        "start_offsets": Integers([row.piece.chunk.start for row in rows]),
        "end_offsets": Integers([row.piece.chunk.end for row in rows]),
        "chunk_hashes": Blobs([row.piece.hash for row in rows]),
        "embeddings": Vectors([None if vector is None else vector.values for vector in vectors]),
        "tokens": [None if vector is None else vector.tokens for vector in vectors],
        "tokens_kept": [None if vector is None else vector.tokens - vector.dropped for vector in vectors],
    }


def _rows(job: int, result: Result) -> Iterator[_Row]:
    vectors = iter(result.vectors)
    for no, piece in enumerate(result.content.pieces or ()):
        yield _Row(job, no, piece, None if piece.known else next(vectors))
