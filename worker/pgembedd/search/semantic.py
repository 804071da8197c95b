"""Searches the rows of a pipeline by meaning, as the caller, so that row level security holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.rows import dict_row

from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError, ModelMismatchError
from pgembedd.model.embedder import Embedder

OPERATORS = {"cosine": "<=>", "l2": "<->", "ip": "<#>"}
SNIPPET_CHARACTERS = 300
DEFAULT_BREADTH = 40  # pgvector's own
MAX_LIMIT = 1000  # pgvector's own limit for hnsw.ef_search


@dataclass(frozen=True)
class Hit:
    """A row or chunk that was found: key by column, distance (smaller is nearer), beginning of the text."""

    key: dict[str, Any]
    distance: float
    content: str
    chunk_no: int | None = None


@dataclass(frozen=True)
class Target:
    """The properties of a pipeline that a search needs."""

    id: int
    name: str
    schema: str
    table: str
    key_columns: list[str]
    content_columns: list[str] | None
    content_function: str | None
    embedding_column: str
    embedding_table: str | None
    embedding_schema: str | None
    model: str
    fingerprint: str | None
    vector_type: str
    distance: str
    vector_schema: str


def targets(connection: psycopg.Connection) -> list[Target]:
    """Returns every pipeline that can be searched, ordered by name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Target(**row) for row in cursor.execute(query("targets"))]


def target(connection: psycopg.Connection, name: str | None) -> Target:
    """Returns the pipeline of that name, or the only one there is. ConfigurationError otherwise."""
    rows = targets(connection)
    names = ", ".join(row.name for row in rows)
    chosen = [row for row in rows if name in (None, row.name)]
    if not rows:
        raise ConfigurationError("There is no pipeline to search: pgembedd.create_pipeline() makes one.")
    if not chosen:
        raise ConfigurationError(f'There is no pipeline "{name}"; there are: {names}.')
    if len(chosen) > 1:
        raise ConfigurationError(f"There are several pipelines, so name one with --pipeline: {names}.")
    return chosen[0]


def search(connection: psycopg.Connection, where: Target, embedder: Embedder, text: str, limit: int) -> list[Hit]:
    """Returns the `limit` rows nearest to `text`, nearest first. ModelMismatchError for vectors of another model."""
    check_model(where, embedder.fingerprint)
    return nearest(connection, where, embedder.start([text], kind="query").result().vectors[0], limit)


def check_model(where: Target, fingerprint: str) -> None:
    """Raises ModelMismatchError unless the model of this fingerprint made the pipeline's vectors."""
    if where.fingerprint not in (None, fingerprint):
        raise ModelMismatchError(
            f'The pipeline "{where.name}" holds vectors of {where.fingerprint}, but {where.model} here is '
            f"{fingerprint}: distances between the two would mean nothing. "
            "Search with the worker's own precision and model files (--precision, --model-dir)."
        )


def nearest(
    connection: psycopg.Connection,
    where: Target,
    vector: npt.NDArray[np.float32],
    limit: int,
    *,
    as_owner: bool = False,
) -> list[Hit]:
    """Returns the `limit` rows nearest to `vector` (dims,), nearest first. ModelMismatchError if the model has changed.

    The content function is the table owner's code: with `as_owner` it runs with their rights instead of the caller's.
    """
    with connection.transaction():
        connection.execute(query("search_breadth"), {"breadth": str(max(DEFAULT_BREADTH, limit))})
        register_type(connection, where.vector_schema)
        values = {"vector": Vector(vector), "limit": limit, "pipeline_id": where.id, "name": where.name}
        rows = connection.execute(_statement(where, as_owner), values).fetchall()
    if not rows and where.id not in [row.id for row in targets(connection) if row.name == where.name]:
        raise ModelMismatchError(f'The model of "{where.name}" was changed at this moment: search again.')
    keys = len(where.key_columns)
    return [
        Hit(dict(zip(where.key_columns, row[:keys], strict=True)), row[keys], row[keys + 1] or "", row[keys + 2])
        for row in rows
    ]


def register_type(connection: psycopg.Connection, schema: str) -> None:
    """Registers pgvector's types, which may live in any schema, inside the caller's transaction."""
    connection.execute(sql.SQL("set local search_path to {}, public").format(sql.Identifier(schema)))
    register_vector(connection)


def _statement(where: Target, as_owner: bool = False) -> sql.Composed:
    embedding = sql.Identifier("s", where.embedding_column)
    distance = sql.SQL("{} operator({}.{}) %(vector)s::{}").format(
        embedding,
        sql.Identifier(where.vector_schema),
        sql.SQL(OPERATORS[where.distance]),
        sql.Identifier(where.vector_schema, where.vector_type),
    )
    return sql.SQL(query("search")).format(
        keys=sql.SQL(", ").join(sql.Identifier("s", key) for key in where.key_columns),
        distance=distance,
        content=_content(where, as_owner),
        length=SNIPPET_CHARACTERS,
        chunk_no=sql.SQL("null::integer") if where.embedding_table is None else sql.Identifier("s", "chunk_no"),
        source=sql.Identifier(where.embedding_schema or where.schema, where.embedding_table or where.table),
        embedding=embedding,
    )


def _content(where: Target, as_owner: bool) -> sql.Composable:
    if where.embedding_table is not None:
        return sql.Identifier("s", "chunk")
    if where.content_function is not None and as_owner:
        return sql.SQL("(select r.content from pgembedd.read(%(pipeline_id)s, array[{}]) r)").format(_key(where))
    if where.content_function is not None:
        # Stored by create_pipeline as a quoted, qualified name. A plain s would be a column of that name.
        return sql.SQL("{}(s.*)").format(sql.SQL(where.content_function))
    columns = [sql.Identifier("s", column) for column in where.content_columns or []]
    return sql.SQL("concat_ws(E'\\n\\n', {})").format(sql.SQL(", ").join(columns))


def _key(where: Target) -> sql.Composable:
    """Returns the key of the row as in a message: the bare value, or an object for a composite key.

    Written by the output functions of its types, because a cast could be the owner's code, too.
    """
    written = sql.SQL("pg_catalog.to_jsonb(pg_catalog.format('%%s', {}))")
    values = [written.format(sql.Identifier("s", name)) for name in where.key_columns]
    if len(values) == 1:
        return values[0]
    named = zip(where.key_columns, values, strict=True)
    parts = [sql.SQL("{}, {}").format(sql.Literal(name), value) for name, value in named]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(parts))
