"""Vectors on the wire to Postgres, in binary: as text they would cost the worker more than all else it does."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_NULL = struct.pack("!i", -1)


@dataclass(frozen=True, slots=True)
class Vectors:
    """A parameter of the type vector[]: each float32 of shape (dims,), or None for NULL."""

    items: Sequence[npt.NDArray[np.float32] | None]


def register_vectors(connection: psycopg.Connection, element_oid: int, array_oid: int) -> None:
    """Let the connection take Vectors; the numbers are those of `vector` and `vector[]` in its database."""

    class VectorsDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Vectors) -> bytes:
            return array_bytes(obj.items, element_oid)

    connection.adapters.register_dumper(Vectors, VectorsDumper)


def array_bytes(items: Sequence[npt.NDArray[np.float32] | None], element_oid: int) -> bytes:
    """What array_recv of PostgreSQL reads: dimensions, whether there are NULLs, the elements' type, and per element
    its length and itself; all numbers big-endian. One dimension, counted from 1.
    """
    has_null = any(item is None for item in items)
    header = struct.pack("!iiIii", 1, has_null, element_oid, len(items), 1)
    return header + b"".join(_NULL if item is None else _element(item) for item in items)


def _element(vector: npt.NDArray[np.float32]) -> bytes:
    """What vector_recv of pgvector reads: dimensions and an unused number, int16 each, then float4s."""
    (dims,) = vector.shape
    return struct.pack("!ihh", 4 + 4 * dims, dims, 0) + vector.astype(">f4").tobytes()
