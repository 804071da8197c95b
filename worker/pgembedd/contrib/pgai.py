"""Imports pgai's vectorizers as pipelines; vectors of a model of ours stay."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pgembedd.contrib.model_names import known_model, name_with_model, pipeline_name
from pgembedd.contrib.plan import Column, Plan, Refused, Step, call, create_pipeline, find_column
from pgembedd.database.queries import query
from pgembedd.model.model_spec import ModelSpec

# pgai counts characters, we count tokens; English and its like take four of the one for one of the other.
CHARACTERS_A_TOKEN = 4
LEAST_CHUNK_TOKENS = 16
SPECIAL_TOKENS = 2
DISTANCES = {"vector_cosine_ops": "cosine", "vector_l2_ops": "l2", "vector_ip_ops": "ip"}


@dataclass(frozen=True)
class Vectorizer:
    """A row of ai.vectorizer; older versions' layouts are converted."""

    id: int
    name: str
    schema: str
    table: str
    queue: tuple[str, str] | None
    disabled: bool
    config: Mapping[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Vectorizer":
        """Builds a Vectorizer from the row as JSON."""
        config = dict(row["config"])
        if "destination" not in config:  # before 0.10
            config["destination"] = {"implementation": "table"} | {
                key: row[key] for key in ("target_schema", "target_table") if row.get(key)
            }
        chunked = config.get("chunking", {}).get("chunk_column")
        config.setdefault("loading", {"implementation": "column", "column_name": chunked})
        queue = (row["queue_schema"], row["queue_table"]) if row.get("queue_table") else None
        name = row.get("name") or f"vectorizer {row['id']}"
        return cls(row["id"], name, row["source_schema"], row["source_table"], queue, bool(row.get("disabled")), config)

    def part(self, name: str, key: str) -> Any:
        """Returns an entry of one part of the configuration, or None."""
        return self.config.get(name, {}).get(key)

    @property
    def column(self) -> str | None:
        """The destination column, if the destination is a column of the source."""
        column = self.part("destination", "embedding_column")
        return str(column) if self.part("destination", "implementation") == "column" else None

    @property
    def target(self) -> tuple[str, str]:
        """Schema and name of the destination table, if the destination is a table."""
        return self.part("destination", "target_schema"), self.part("destination", "target_table")

    @property
    def template(self) -> str | None:
        """The template around each chunk, or None."""
        template = self.part("formatting", "template")
        return None if template in (None, "$chunk", "${chunk}") else str(template)


@dataclass(frozen=True)
class Options:
    """`model` embeds the rows again into a new column or table. `drop_vectorizer` drops pgai's objects as well."""

    model: ModelSpec | None = None
    drop_vectorizer: bool = False


def read_catalogue(connection: psycopg.Connection) -> list[Vectorizer]:
    """Returns pgai's vectorizers; none without pgai."""
    if connection.execute(query("import_catalogue")).fetchone() != (True,):
        return []
    return [Vectorizer.of(found) for (found,) in connection.execute(query("import_vectorizers"))]


def plan(connection: psycopg.Connection, vectorizer: Vectorizer, options: Options) -> Plan | Refused:
    """Plans the import of one vectorizer."""
    about = f'the vectorizer "{vectorizer.name}" on {vectorizer.schema}.{vectorizer.table}'
    column = find_column(connection, vectorizer.schema, vectorizer.table, vectorizer.column or "")
    reason = _refusal_reason(connection, vectorizer, column, options)
    if reason is not None:
        return Refused(about, reason)
    model = options.model or known_model(vectorizer.part("embedding", "model"))
    assert model is not None  # else the import was refused
    keep = options.model is None
    name = pipeline_name(vectorizer.name)
    pipeline = {
        "pipeline": name,
        "source": column.source,
        "content_columns": [vectorizer.part("loading", "column_name")],
        "model": model.name,
        "dimensions": model.dims,
        **_index(vectorizer),
        **(
            _to_column(vectorizer, column, model, keep)
            if vectorizer.column
            else _to_table(vectorizer, model, connection)
        ),
        "backfill": False if keep else None,
    }
    steps = [create_pipeline(pipeline)]
    if keep:
        steps += _keep_vectors(connection, vectorizer, name, model)
    if vectorizer.disabled:
        steps.append(call("pgembedd.pause", name, done="paused it, as the vectorizer was disabled"))
    if options.drop_vectorizer:
        steps.append(call("ai.drop_vectorizer", vectorizer.id, done="dropped the vectorizer; its vectors stay"))
    return Plan(about, tuple(steps), tuple(_notes(vectorizer, options)))


def _refusal_reason(
    connection: psycopg.Connection, vectorizer: Vectorizer, found: Column, options: Options
) -> str | None:
    """Returns the reason why the vectorizer cannot be imported, or None."""
    content = vectorizer.part("loading", "column_name")
    if vectorizer.part("loading", "implementation") != "column" or not content:
        return (
            "it loads documents from elsewhere, and pgembedd embeds what is in the table: write the text to a column."
        )
    if vectorizer.column and vectorizer.template:
        return (
            f"it formats by {vectorizer.template!r} into a column, which here takes a content function: write one, and "
            "call pgembedd.create_pipeline() with content_function and existing_vectors => 'keep'."
        )
    name = pipeline_name(vectorizer.name)
    if connection.execute(query("import_name_taken"), {"name": name}).fetchone() == (True,):
        return f'there is a pipeline "{name}" already: it was imported, or drop that one.'
    if options.model is not None:
        return None
    return _model_refusal_reason(vectorizer, found)


def _model_refusal_reason(vectorizer: Vectorizer, found: Column) -> str | None:
    """Returns the reason why the vectors cannot be kept, or None."""
    given, dimensions = vectorizer.part("embedding", "model"), vectorizer.part("embedding", "dimensions")
    model = known_model(given or "")
    where = "column" if vectorizer.column else "table"
    again = f"--model gte-small embeds the rows again, into a new {where}."
    if model is None:
        return f"its vectors are of {given}, which pgembedd does not have: {again}"
    if dimensions != model.dims:
        return f"it keeps {dimensions} dimensions of {given}, which makes {model.dims}: {again}"
    if vectorizer.column and (found.type not in ("vector", "halfvec") or found.typmod != model.dims):
        return f'its column "{vectorizer.column}" is no vector of {model.dims} dimensions any more: {again}'
    return None


def _to_column(vectorizer: Vectorizer, found: Column, model: ModelSpec, keep: bool) -> dict[str, Any]:
    assert vectorizer.column is not None
    if not keep:
        return {"embedding_column": name_with_model(vectorizer.column, model.name)}
    return {
        "embedding_column": vectorizer.column,
        "vector_type": found.type if found.type != "halfvec" else None,
        "existing_vectors": "keep",
    }


def _to_table(vectorizer: Vectorizer, model: ModelSpec, connection: psycopg.Connection) -> dict[str, Any]:
    schema, table = vectorizer.target
    name = name_with_model(table, model.name, room=58)  # the name of its view is longer
    name = sql.Identifier(schema, name).as_string(connection)
    return {"embedding_table": name, "formatting": vectorizer.template, **_chunks(vectorizer, model)}


def _chunks(vectorizer: Vectorizer, model: ModelSpec) -> dict[str, Any]:
    """Returns chunk sizes in tokens for those in characters; nothing where whole documents were embedded."""
    size, overlap = vectorizer.part("chunking", "chunk_size"), vectorizer.part("chunking", "chunk_overlap")
    if vectorizer.part("chunking", "implementation") == "none" or not size:
        return {}
    tokens = min(max(size // CHARACTERS_A_TOKEN, LEAST_CHUNK_TOKENS), model.max_tokens - SPECIAL_TOKENS)
    return {"chunk_tokens": tokens, "chunk_overlap_tokens": min((overlap or 0) // CHARACTERS_A_TOKEN, tokens // 2)}


def _index(vectorizer: Vectorizer) -> dict[str, Any]:
    """Returns the options of its HNSW index; without one, ours has the defaults."""
    if vectorizer.part("indexing", "implementation") != "hnsw":
        return {}
    distance = DISTANCES.get(vectorizer.part("indexing", "opclass") or "", "cosine")
    given = {name: vectorizer.part("indexing", name) for name in ("m", "ef_construction")}
    options = {name: value for name, value in given.items() if value is not None}
    return {
        "distance": distance if distance != "cosine" else None,
        "index_options": Jsonb(options) if options else None,
    }


def _keep_vectors(
    connection: psycopg.Connection, vectorizer: Vectorizer, name: str, model: ModelSpec
) -> Iterator[Step]:
    """Keeps the vectors, except of rows in pgai's queue; then queues rows without a vector."""
    pending = _relation(connection, vectorizer.queue)
    if vectorizer.column:
        yield call("pgembedd_internal._import_pending", name, pending, done="rows queued that pgai had still to do: {}")
    else:
        chunks = _relation(connection, vectorizer.target)
        done = "rows taken over with their vectors: {}"
        yield call("pgembedd_internal._import_chunks", name, chunks, pending, model.fingerprint, done=done)
    yield call("pgembedd.backfill", name, done="rows queued that have none: {}")


def _relation(connection: psycopg.Connection, named: tuple[str, str] | None) -> str | None:
    """Returns the quoted name; None for a table that does not exist."""
    if named is None:
        return None
    name: str | None
    ((name,),) = connection.execute(query("import_relation"), {"schema": named[0], "table": named[1]}).fetchall()
    return name


def _notes(vectorizer: Vectorizer, options: Options) -> Iterator[str]:
    if not vectorizer.column:
        size, overlap = vectorizer.part("chunking", "chunk_size"), vectorizer.part("chunking", "chunk_overlap")
        if size:
            yield f"chunks of {size} characters, {overlap} of them shared, become tokens at four characters each."
        else:
            yield "whole documents become chunks as long as the model reads."
    if not options.drop_vectorizer:
        yield "pgai's trigger and queue stay: stop its worker; ai.drop_vectorizer() or --drop-vectorizer removes them."
