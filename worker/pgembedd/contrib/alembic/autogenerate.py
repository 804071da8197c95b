"""Hooks for alembic's autogenerate: they exclude pgembedd's objects and render vector types with their import.

They decide by the properties of an object and do not read pgembedd's tables: the author of a migration need not have
rights there, and columns of a dropped pipeline still hold vectors that a script must not drop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from pgvector.sqlalchemy import HALFVEC, VECTOR  # importing them teaches SQLAlchemy to reflect them, too
from sqlalchemy import Column, Index, Table
from sqlalchemy.types import NullType

OUR_SCHEMAS = frozenset({"pgembedd", "pgembedd_internal", "pgembedd_code", "pgmq"})
INFO = "pgembedd"  # info={"pgembedd": True} on a model says that its table is made by a pipeline

# No table has all of these by accident.
EMBEDDING_TABLE_COLUMNS = frozenset(
    {"chunk_index", "chunk", "start_offset", "end_offset", "content_hash", "tokens_kept", "embedded_at"}
)
WORDS_COLUMN = "pgembedd_words"


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Excludes pgembedd's schemas and that of its queues from autogenerate."""
    schema = name if type_ == "schema" else parent_names.get("schema_name")
    return schema not in OUR_SCHEMAS


def include_object(
    object_: Any,
    name: str | None,  # noqa: ARG001  alembic passes them by position
    type_: str,  # noqa: ARG001
    reflected: bool,
    compare_to: Any,
) -> bool:
    """Excludes pgembedd's objects from the comparison.

    Excluded are vector columns and their indexes that only the database has, the tables of words, and embedding tables,
    whether they exist or the metadata marks them as such. All other objects of the metadata are compared.
    """
    table = object_ if isinstance(object_, Table) else getattr(object_, "table", None)
    if getattr(object_, "schema", None) in OUR_SCHEMAS or getattr(table, "schema", None) in OUR_SCHEMAS:
        return False
    if table is not None and table.info.get(INFO):
        return False
    if isinstance(object_, Table):
        return not _is_our_table(object_ if reflected else compare_to)
    return not reflected or compare_to is not None or not _is_ours(object_, table)


def _is_our_table(reflected: Table | None) -> bool:
    if reflected is None:
        return False
    columns = reflected.columns.keys()
    return EMBEDDING_TABLE_COLUMNS.issubset(columns) or WORDS_COLUMN in columns


def _is_ours(reflected: Any, table: Table | None) -> bool:
    """Tells that a column or an index that only the database has belongs to a pipeline."""
    if isinstance(reflected, Column):
        return _holds_vectors(reflected)
    return isinstance(reflected, Index) and table is not None and _is_our_index(reflected, table)


def _holds_vectors(column: Column[Any]) -> bool:
    # pgvector in a schema outside of the search_path: SQLAlchemy then knows no type. Whatever such a column is, a
    # script could not make it again, so it is not one to propose for dropping either.
    return isinstance(column.type, HALFVEC | VECTOR | NullType)


def _is_our_index(index: Index, table: Table) -> bool:
    """Recognizes an index for searching vectors, or the partial one of waiting rows: `where embedding is null`."""
    options = index.dialect_options["postgresql"]
    if options.get("using") == "hnsw":
        return True
    condition = str(options.get("where")).strip("()")
    waiting = {f"{quoted} IS NULL" for c in table.columns if _holds_vectors(c) for quoted in _spellings(c.name)}
    return condition in waiting


def _spellings(column: str) -> tuple[str, str]:
    return column, '"{}"'.format(column.replace('"', '""'))


def render_item(type_: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Renders a vector type with its import; False, which means the default, for all others."""
    if type_ != "type" or not isinstance(item, HALFVEC | VECTOR):
        return False
    context.imports.add("import pgvector.sqlalchemy")
    return f"pgvector.sqlalchemy.{type(item).__name__}({'' if item.dim is None else item.dim})"
