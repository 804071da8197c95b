"""Reads rows together with their stored vectors, for `pgembedd verify`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.queries import query
from pgembedd.errors import RowFailure
from pgembedd.loop.bisect import bisect


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk of an embedding table without its vector: number, offsets, hash of its text, fingerprint."""

    no: int
    start: int
    end: int
    hash: bytes
    model: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row: state `ok`, `blank`, `gone`, None for a dead one, or `unreadable`; noted `dead` or `queued`.

    `vectors` are the stored ones: one or none in a column; in an embedding table one for each of `chunks`.
    """

    id: str
    state: str | None
    text: str | None = None
    hash: bytes | None = None
    noted: str | None = None
    vectors: Sequence[Sequence[float]] = ()
    before: str = ""
    after: str = ""
    chunks: tuple[StoredChunk, ...] = ()

    def same(self, other: "Row") -> bool:
        """Tells that nothing changed between two reads; a NaN equals itself here."""
        return (self.state, self.hash, self.chunks) == (other.state, other.hash, other.chunks) and np.array_equal(
            self.vectors, other.vectors, equal_nan=True
        )


def read_rows(
    connection: psycopg.Connection, pipeline: str, ids: Sequence[str], *, with_queues: bool = False
) -> list[Row]:
    """Reads the rows of these keys (JSON), in order. A row whose content raises an error does not affect the others."""

    def attempt(part: Sequence[str]) -> list[Row]:
        values = {"name": pipeline, "ids": list(part), "with_queues": with_queues}
        try:
            found = connection.execute(query("verify_look"), values, binary=True).fetchall()
        except psycopg.Error as error:
            if is_connection_error(error) or isinstance(error, psycopg.errors.LockNotAvailable):
                raise
            raise RowFailure("content", str(error)) from error
        return [_row(key, row) for key, row in zip(part, found, strict=True)]

    return [Row(key, "unreadable") if isinstance(row, RowFailure) else row for key, row in bisect(ids, attempt)]


def _row(key: str, found: tuple[Any, ...]) -> Row:
    state, text, digest, noted, vectors, before, after, *chunks = found
    stored = tuple(StoredChunk(*each) for each in zip(*(column or () for column in chunks), strict=True))
    return Row(key, state, text, digest, noted, vectors or [], before or "", after or "", stored)
