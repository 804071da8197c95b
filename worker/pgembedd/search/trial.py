"""A sample of a table's rows, read without a pipeline: for a search of their texts in memory.

Reads in transactions that are read-only, as the role of the connection, and needs no schema of pgembedd.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import errors, sql

from pgembedd.database.connect import PinnedConnection
from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError
from pgembedd.model.pooling import Float32Array
from pgembedd.search.hits import Hit

MOST_ROWS = 500
MOST_CHARACTERS = 50_000
"""Of a text: more than a model reads."""
SNIPPET_CHARACTERS = 200
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "i": "an index", "S": "a sequence"}

Row = tuple[Any, str]
"""A key, and a text that is not blank."""


@dataclass(frozen=True, slots=True)
class TrialTable:
    """A table that may be sampled. `name` has the schema, quoted; `rows` and `pages` are estimates.

    `pipelines` are the names that are taken, as far as this role may see them, and `embedding_tables` those of tables.
    """

    schema: str
    relation: str
    name: str
    rows: float
    pages: int
    key_columns: list[str]
    columns: list[str]
    embedding_tables: list[str]
    has_pgembedd: bool
    pipelines: list[str]


def find_table(connection: PinnedConnection, table: str, content_columns: Sequence[str]) -> TrialTable:
    """Returns the table that a name means to this role. ConfigurationError for what no pipeline could have."""
    try:
        with _reading(connection):
            found = connection.execute(query("trial_table"), {"table": table}).fetchone()
    except errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"{table} may not be looked at: {error.diag.message_primary}.") from error
    except errors.Error as error:
        if error.sqlstate not in ("42601", "42602", "22P02", "0A000"):  # 'a.b.c.d' is no table's name
            raise
        found = None
    if found is None:
        raise ConfigurationError(
            f"There is no table {table}: name it with its schema, and quoted as in SQL where it needs quoting."
        )
    schema, relation, name, kind, rows, pages, columns, embedding_tables, has_pgembedd, role = found
    if kind not in ("r", "p"):
        raise ConfigurationError(f"{name} is {KINDS.get(kind, 'no ordinary relation')}, not a table.")
    _check_columns(name, columns, content_columns)
    keys = sorted((one for one in columns if one["key"]), key=lambda one: int(one["key"]))
    _check_rights(role, name, [one for one in columns if one["key"] or one["name"] in content_columns])
    key_columns, names = ([one["name"] for one in each] for each in (keys, columns))
    pipelines = _pipelines(connection) if has_pgembedd else []
    return TrialTable(
        schema, relation, name, rows, pages, key_columns, names, embedding_tables, has_pgembedd, pipelines
    )


def _pipelines(connection: PinnedConnection) -> list[str]:
    """Returns the names of pipelines; none where this role may not see them, or the schema is of an older version."""
    with suppress(errors.InsufficientPrivilege, errors.UndefinedTable), _reading(connection):
        return [name for (name,) in connection.execute(query("trial_pipelines"))]
    return []


def _check_columns(name: str, columns: list[dict[str, Any]], wanted: Sequence[str]) -> None:
    """Raises ConfigurationError where a column or the primary key is missing."""
    names = [one["name"] for one in columns]
    missing = [one for one in wanted if one not in names]
    if missing:
        raise ConfigurationError(f"{name} has no column {', '.join(missing)}; it has: {', '.join(names)}.")
    if not any(one["key"] for one in columns):
        raise ConfigurationError(
            f"{name} has no primary key, by which a pipeline names its rows: "
            "add one with ALTER TABLE ... ADD PRIMARY KEY."
        )


def _check_rights(role: str, name: str, columns: list[dict[str, Any]]) -> None:
    """Raises ConfigurationError where this role may not read one of the columns."""
    unreadable = [one["quoted"] for one in columns if not one["readable"]]
    if unreadable:
        grant = f"grant select ({', '.join(unreadable)}) on {name} to {role};"
        raise ConfigurationError(f"The role {role} may not read {name}: {grant}")


def sample(connection: PinnedConnection, table: TrialTable, content_columns: Sequence[str]) -> list[Row]:
    """Returns up to MOST_ROWS random rows that have a text; of a large table, from a sample of its pages.

    ConfigurationError where there is none.
    """
    percent, rows = _percent(table), list[Row]()
    while True:
        try:
            rows = _read(connection, table, content_columns, percent)
        except errors.QueryCanceled as error:
            if not rows:
                raise ConfigurationError(f"Reading a sample of {table.name} took too long: try it later.") from error
            return rows
        if percent >= 100 or len(rows) == MOST_ROWS:
            break
        percent = min(100.0, percent * 8)
    if not rows:
        raise ConfigurationError(
            f"{table.name} has no row with a text in {' or '.join(content_columns)} that this role may read."
        )
    return rows


def _percent(table: TrialTable) -> float:
    """Returns the share of pages, in percent, that has about four times the rows; all where it would be a half."""
    density = table.rows / table.pages if table.rows > 0 and table.pages else 1.0
    wanted = max(50.0, 4 * MOST_ROWS / density)
    return 100.0 if 2 * wanted >= table.pages else 100.0 * wanted / table.pages


def _read(connection: PinnedConnection, table: TrialTable, content_columns: Sequence[str], percent: float) -> list[Row]:
    fields = [sql.SQL("s.{}").format(sql.Identifier(name)) for name in content_columns]
    clause = sql.SQL("tablesample pg_catalog.system ({})").format(percent) if percent < 100 else sql.SQL("")
    statement = sql.SQL(query("trial_rows")).format(
        table=sql.Identifier(table.schema, table.relation),
        key=_key(table.key_columns),
        content=sql.SQL(", ").join(fields),
        clause=clause,
    )
    with _reading(connection):
        return connection.execute(statement, {"rows": MOST_ROWS, "characters": MOST_CHARACTERS}).fetchall()


def _key(columns: Sequence[str]) -> sql.Composable:
    """Returns the key as a search has it: the bare value, or an object where the key has several columns."""
    if len(columns) == 1:
        return sql.SQL("pg_catalog.to_jsonb(s.{})").format(sql.Identifier(columns[0]))
    parts = [sql.SQL("{}, s.{}").format(sql.Literal(name), sql.Identifier(name)) for name in columns]
    return sql.SQL("pg_catalog.jsonb_build_object({})").format(sql.SQL(", ").join(parts))


@contextmanager
def _reading(connection: PinnedConnection) -> Iterator[None]:
    """Starts a read-only transaction, with the search_path of the role and a limit of time."""
    connection.read_only = True
    with connection.transaction():
        connection.execute(query("own_path"))
        connection.execute(query("limit_trial"))
        yield


def hits_of(rows: Sequence[Row], vectors: Float32Array, query_vector: Float32Array, k: int) -> list[Hit]:
    """Returns the `k` rows whose vectors, (n, dims) of norm 1, are the most similar to the query's, best first."""
    similarities = vectors @ query_vector
    best = np.argsort(-similarities, kind="stable")[:k]
    return [
        Hit(rows[at][0], float(similarities[at]), {}, float(similarities[at]), rank, snippet=_beginning(rows[at][1]))
        for rank, at in enumerate(best, 1)
    ]


def _beginning(text: str) -> str:
    return text if len(text) <= SNIPPET_CHARACTERS else f"{text[: SNIPPET_CHARACTERS - 1].rstrip()}…"
