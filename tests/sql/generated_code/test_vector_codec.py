"""Vectors sent in binary arrive as they were: every value, every position, NULL where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import psycopg
import pytest

from pgembedd.database.queries import query
from pgembedd.database.vector_codec import BigIntegers, Blobs, Integers, Texts, Vectors, register_vectors

Vector = npt.NDArray[np.float32]


def sent(connection: psycopg.Connection, items: Sequence[Vector | None]) -> list[Vector | None]:
    """Returns the values that Postgres received, in order."""
    row = connection.execute(query("vector_type")).fetchone()
    assert row is not None
    register_vectors(connection, row[1], row[2])
    rows = connection.execute(
        "select v::real[] from unnest(%s) with ordinality as t(v, n) order by n", (Vectors(items),)
    ).fetchall()
    return [None if each is None else np.array(each, np.float32) for (each,) in rows]


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_every_vector_comes_back(connection: psycopg.Connection, count: int) -> None:
    vectors = np.random.default_rng(count).standard_normal((count, 384)).astype(np.float32)
    got = sent(connection, list(vectors))
    assert np.array_equal(np.array(got).reshape(count, 384), vectors)


def test_nulls_keep_their_places(connection: psycopg.Connection) -> None:
    one = np.array([1.5, -2.25, 3.0e-30], np.float32)
    got = sent(connection, [None, one, None, one * 2, None])
    assert [each is None for each in got] == [True, False, True, False, True]
    assert got[1] is not None
    assert np.array_equal(got[1], one)
    assert sent(connection, [None, None]) == [None, None]


def test_other_memory_layouts_are_sent_by_value(connection: psycopg.Connection) -> None:
    columns = np.arange(12, dtype=np.float32).reshape(4, 3).T
    got = sent(connection, list(columns))
    assert np.array_equal(np.array(got), columns)


@pytest.mark.parametrize(
    "sent",
    [
        Integers([-(2**31), -1, 0, 7, 2**31 - 1]),
        BigIntegers([-(2**63), 0, 2**63 - 1]),
        Blobs([b"", b"\0\xff", b"'{},\\"]),
        Texts(["", "null", '{"a", b}', "\\x00 'é' 日本\n"]),
        Integers([]),
        BigIntegers([]),
        Blobs([]),
        Texts([]),
    ],
    ids=repr,
)
def test_arrays_of_other_types_come_back(
    connection: psycopg.Connection, sent: Integers | BigIntegers | Blobs | Texts
) -> None:
    assert connection.execute("select %s", (sent,)).fetchone() == (list(sent.items),)
