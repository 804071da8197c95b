"""Searches from a test: tables of made-up vectors of three dimensions, and searches with a vector of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgembedd.search.options import SearchOptions, options_of
from tests.support.sql import create_pipeline, rows

QUERY = "[1,0.5,0.25]"
DECLARED = options_of(SearchOptions)

# The i-th of n vectors, spread over a sphere by the golden angle: no two are alike.
_HEIGHT = "(1 - 2.0 * i / {n})"
_VECTOR = (
    f"array[sin(2.39996323 * i) * sin(acos({_HEIGHT})), cos(2.39996323 * i) * sin(acos({_HEIGHT})), {_HEIGHT}]"
    "::real[]::vector"
)

_SOURCE = """
    create table documents (id int primary key, title text, content text, share int);
    insert into documents select i, 'title ' || i, 'content ' || i, hashint4(i) & 1023 from generate_series(1, {n}) i
"""

# Built at once after the rows are there: to insert a vector into an index takes four times as long.
_HNSW = """
    select c.oid::regclass::text, pg_get_indexdef(c.oid)
    from pg_index x join pg_class c on c.oid = indexrelid join pg_am a on a.oid = relam
    where indrelid = %s::regclass and amname = 'hnsw' and relkind = 'i'
"""

# As the sweep does where indexes are others.
FOLLOW = "select pgembedd_internal._follow_search(p) from pgembedd_internal.pipeline p"


@dataclass(frozen=True)
class Hit:
    """One hit as search() by name returns it."""

    key: Any
    chunk_index: int | None
    score: float
    similarity: float | None
    semantic_rank: int | None
    text_rank: int | None
    snippet: str | None
    record: dict[str, Any]
    place: dict[str, Any] | None


def make_source(connection: psycopg.Connection, count: int, **options: Any) -> None:
    """`documents` with a pipeline, every row of it with a vector, or with three chunks where there is a table.

    The column `share` goes from 0 to 1023 at random, so that `share < n` keeps n of 1024 rows.
    """
    connection.execute(_SOURCE.format(n=count))
    create_pipeline(connection, **{"index_type": "hnsw", "backfill": False, **options})
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    fill(connection, count, options.get("embedding_table"))


def fill(connection: psycopg.Connection, count: int, table: str | None = None) -> None:
    """Gives every row of `documents` its vector, or its chunks, and queues nothing."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        indexes = rows(connection, _HNSW, table or "documents")
        for name, _ in indexes:
            connection.execute(f"drop index {name}")
        if table is None:
            vector = _VECTOR.format(n=count)
            connection.execute(
                f"update documents set embedding = v from (select i, {vector} as v from documents s(i)) n where i = id"
            )
        else:
            connection.execute(
                f"insert into {table} select (i - 1) / 3 + 1, (i - 1) % 3, 'chunk ' || i, 0, 1,"
                f" {_VECTOR.format(n=3 * count)}, '', 'x', 1, 1 from generate_series(1, 3 * {count}) i"
            )
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("set local session_replication_role = origin")  # a test may go on in this transaction
        connection.execute(FOLLOW)
    connection.execute("analyze documents" if table is None else f"analyze documents, {table}")


def search(connection: psycopg.Connection, pipeline: str = "documents", **options: Any) -> list[Hit]:
    """Searches by name and by meaning, with the vector `QUERY`, unless told otherwise."""
    rare = {name: options.pop(name) for name in list(options) if name in DECLARED and DECLARED[name][1].is_rare}
    values = {"query": None, "embedding": QUERY, "mode": "semantic", **options}
    if rare:
        values["options"] = Jsonb(rare)
    if isinstance(values.get("filter"), dict | list):
        values["filter"] = Jsonb(values["filter"])
    arguments = "".join(f", {name} => %({name})s" + ("::vector" if name == "embedding" else "") for name in values)
    with connection.cursor(row_factory=class_row(Hit)) as cursor:
        cursor.execute(f"select * from pgembedd.search(%(pipeline)s{arguments})", values | {"pipeline": pipeline})
        return cursor.fetchall()
