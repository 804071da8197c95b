"""Encodes arrays in Postgres's binary format: as text they would take most of the worker's time."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from pgembedd.database.queries import query

# The oids of types, and at the end of their arrays, are the same in every database.
BYTEA, INT8, INT4, TEXT = 17, 20, 23, 25
_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


@dataclass(frozen=True, slots=True)
class Vectors:
    """A parameter of the type vector[]: each float32 of shape (dims,), or None for NULL."""

    items: Sequence[npt.NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Integers:
    """A parameter of the type integer[], without NULL."""

    items: Sequence[int]


@dataclass(frozen=True, slots=True)
class BigIntegers:
    """A parameter of the type bigint[], without NULL."""

    items: Sequence[int]


@dataclass(frozen=True, slots=True)
class Blobs:
    """A parameter of the type bytea[], without NULL."""

    items: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Texts:
    """A parameter of the type text[], without NULL."""

    items: Sequence[str]


def _dumper(array_oid: int, encode: Callable[[Any], bytes]) -> type[Dumper]:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Any) -> bytes:
            return encode(obj.items)

    return ArrayDumper


def register_vectors(connection: psycopg.Connection, element_oid: int, array_oid: int) -> None:
    """Registers Vectors with the connection; the oids are those of `vector` and `vector[]` in its database."""
    dumper = _dumper(array_oid, lambda items: array_bytes(items, element_oid))
    connection.adapters.register_dumper(Vectors, dumper)


def find_vector_type(connection: psycopg.Connection) -> sql.Identifier | None:
    """Registers Vectors where the database has the vector type; returns its name with its schema."""
    row = connection.execute(query("vector_type")).fetchone()
    if row is None:
        return None  # the schema check reports it in a sentence
    schema, element_oid, array_oid = row
    register_vectors(connection, element_oid, array_oid)
    return sql.Identifier(schema, "vector")


def array_bytes(items: Sequence[npt.NDArray[np.float32] | None], element_oid: int) -> bytes:
    """Encodes vectors for array_recv of PostgreSQL."""
    if len({None if item is None else item.shape for item in items}) != 1 or items[0] is None:
        elements = (_NULL if item is None else _element(item) for item in items)
        return _array(element_oid, len(items), b"".join(elements), has_null=any(item is None for item in items))
    (dims,) = items[0].shape
    fields = np.dtype([("length", ">i4"), ("dims", ">i2"), ("unused", ">i2"), ("values", ">f4", dims)])
    encoded = np.zeros(len(items), fields)
    encoded["length"], encoded["dims"], encoded["values"] = 4 + 4 * dims, dims, items
    return _array(element_oid, len(items), encoded.tobytes())


def _element(vector: npt.NDArray[np.float32]) -> bytes:
    """Encodes for vector_recv of pgvector: dimensions and an unused number, int16 each, then float4s."""
    (dims,) = vector.shape
    return struct.pack("!ihh", 4 + 4 * dims, dims, 0) + vector.astype(">f4").tobytes()


def _integers(element_oid: int, size: int) -> Callable[[Sequence[int]], bytes]:
    fields = np.dtype([("length", ">i4"), ("value", f">i{size}")])

    def encode(items: Sequence[int]) -> bytes:
        encoded = np.zeros(len(items), fields)
        encoded["length"], encoded["value"] = size, items
        return _array(element_oid, len(items), encoded.tobytes())

    return encode


def _blobs(items: Sequence[bytes], element_oid: int = BYTEA) -> bytes:
    parts = [part for item in items for part in (_LENGTH.pack(len(item)), item)]
    return _array(element_oid, len(items), b"".join(parts))


def _array(element_oid: int, count: int, elements: bytes, *, has_null: bool = False) -> bytes:
    """Encodes dimensions, a flag for NULLs, the elements' type, and per element its length and bytes.

    All numbers are big-endian. There is one dimension, counted from 1.
    """
    return struct.pack("!iiIii", 1, has_null, element_oid, count, 1) + elements


psycopg.adapters.register_dumper(Integers, _dumper(1007, _integers(INT4, 4)))
psycopg.adapters.register_dumper(BigIntegers, _dumper(1016, _integers(INT8, 8)))
psycopg.adapters.register_dumper(Blobs, _dumper(1001, _blobs))
psycopg.adapters.register_dumper(Texts, _dumper(1009, lambda items: _blobs([item.encode() for item in items], TEXT)))
