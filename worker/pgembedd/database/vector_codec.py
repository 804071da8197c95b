"""Encodes vectors in Postgres's binary format: as text they would take most of the worker's time."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from pgembedd.database.queries import query

_NULL = struct.pack("!i", -1)


@dataclass(frozen=True, slots=True)
class Vectors:
    """A parameter of the type vector[]: each float32 of shape (dims,), or None for NULL."""

    items: Sequence[npt.NDArray[np.float32] | None]


def register_vectors(connection: psycopg.Connection, element_oid: int, array_oid: int) -> None:
    """Registers Vectors with the connection; the oids are those of `vector` and `vector[]` in its database."""

    class VectorsDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Vectors) -> bytes:
            return array_bytes(obj.items, element_oid)

    connection.adapters.register_dumper(Vectors, VectorsDumper)


def find_vector_type(connection: psycopg.Connection) -> sql.Identifier | None:
    """Registers Vectors where the database has the vector type; returns its name with its schema."""
    row = connection.execute(query("vector_type")).fetchone()
    if row is None:
        return None  # the schema check reports it in a sentence
    schema, element_oid, array_oid = row
    register_vectors(connection, element_oid, array_oid)
    return sql.Identifier(schema, "vector")


def array_bytes(items: Sequence[npt.NDArray[np.float32] | None], element_oid: int) -> bytes:
    """Encodes for array_recv of PostgreSQL: dimensions, a flag for NULLs, the elements' type, and per element its
    length and bytes; all numbers big-endian. One dimension, counted from 1.
    """
    has_null = any(item is None for item in items)
    header = struct.pack("!iiIii", 1, has_null, element_oid, len(items), 1)
    return header + b"".join(_NULL if item is None else _element(item) for item in items)


def _element(vector: npt.NDArray[np.float32]) -> bytes:
    """Encodes for vector_recv of pgvector: dimensions and an unused number, int16 each, then float4s."""
    (dims,) = vector.shape
    return struct.pack("!ihh", 4 + 4 * dims, dims, 0) + vector.astype(">f4").tobytes()
