"""A table with a composite key and its pipelines, set up, looked at, cleared away."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import psycopg

from tests.sql.stateful.expected import Key, Row, Shape, Stored
from tests.support.sql import LANES, call, create_pipeline, rows, value

MAX_ATTEMPTS = 3
PATIENCE = "15s"  # nothing waits for a lock here: a statement that does is a mistake of the test, or a defect


def build(connection: psycopg.Connection, shape: Shape, before: dict[Key, Row]) -> None:
    """`documents` (tenant, slug, title, content, other), these rows, and the pipeline `documents`."""
    primary = "primary key (tenant, slug)" + (" deferrable" if shape.deferrable else "")
    partitioned = shape.layout == "partitioned"
    connection.execute(
        f"create table documents (tenant int, slug text, title text, content text, other int, {primary})"
        + (" partition by list (tenant)" if partitioned else "")
    )
    if partitioned:
        connection.execute("create table documents_0 partition of documents for values in (0)")
        connection.execute("create table documents_1 partition of documents default")
    for key, row in before.items():
        connection.execute("insert into documents values (%s, %s, %s, %s)", (*key, row.title, row.content))
    options: dict[str, Any] = {"on_update": "clear" if shape.clear else "keep", "max_attempts": MAX_ATTEMPTS}
    if shape.chunked:
        options["embedding_table"] = "chunks"
    if shape.titled:
        options |= {"content_columns": ["content"], "formatting": "$title: $chunk"}
    connection.execute(  # before the code is generated that has it
        "create or replace function pgembedd_internal._rows_of_a_part() returns integer language sql immutable "
        "set search_path = pg_catalog, pg_temp as 'select 2'"
    )
    create_pipeline(connection, **options)
    switch_without_patience(connection)


def queued_for(connection: psycopg.Connection, pipeline_id: int) -> set[str]:
    """The keys, as JSON, that are queued for a pipeline in either lane."""
    statement = " union ".join(
        f"select message ->> 'id' from pgmq.q_{lane} where message ->> 'pipeline' = '{pipeline_id}'" for lane in LANES
    )
    return {row[0] for row in rows(connection, statement)}


def switch_without_patience(connection: psycopg.Connection) -> None:
    """No worker comes while a switch waits for one: it refuses at once."""
    definition = value(connection, "select pg_get_functiondef('pgembedd_internal._await_vectors'::regproc)")
    connection.execute(definition.replace("'00:00:05'::interval", "'0'::interval").encode())


def clear_away(connection: psycopg.Connection) -> None:
    """Nothing of it stays, and no job, so that the database can be used again."""
    for name in [
        row[0] for row in rows(connection, "select name from pgembedd_internal.pipeline order by shadow_of is null")
    ]:
        call(connection, "drop_pipeline", pipeline=name, drop_vectors=True)
    connection.execute("drop table if exists documents")
    connection.execute("truncate pgembedd_internal.dead_letter, pgembedd_internal.activity")
    for lane in LANES:
        connection.execute(f"truncate pgmq.q_{lane}")


def stored(connection: psycopg.Connection, pipeline_id: int) -> dict[Key, Stored]:
    """The vectors that a pipeline wrote, by key; keys without any are left out."""
    ((table, column),) = rows(
        connection,
        "select embedding_table::text, embedding_column from pgembedd_internal.pipeline where id = %s",
        pipeline_id,
    )
    if table is None:
        found = rows(connection, f"select tenant, slug, null, {column} from documents where {column} is not null")
    else:
        found = rows(
            connection, f"select tenant, slug, chunk, embedding from {table} order by tenant, slug, chunk_index"
        )
    by_key = defaultdict(list)
    for tenant, slug, chunk, embedding in found:
        by_key[tenant, slug].append((chunk, tuple(float(x) for x in embedding.to_list())))
    return {key: tuple(found) for key, found in by_key.items()}


def chunk_faults(connection: psycopg.Connection, pipeline_id: int, shape: Shape) -> list[tuple[Any, ...]]:
    """Chunks whose number, offsets, hash or model do not fit their source row."""
    (table,) = rows(
        connection, "select embedding_table::text from pgembedd_internal.pipeline where id = %s", pipeline_id
    )[0]
    content = "s.content" if shape.titled else "concat_ws(E'\\n\\n', s.title, s.content)"
    before = "coalesce(s.title, '') || ': '" if shape.titled else "''"
    return rows(
        connection,
        f"select * from (select e.*, row_number() over (partition by tenant, slug order by chunk_index) - 1 as nth,"
        f" {content} as content, {before} as before from {table} e join documents s using (tenant, slug)) e"
        " where chunk_index <> nth or substr(content, start_offset + 1, end_offset - start_offset) <> chunk"
        " or content_hash <> sha256(convert_to(before || chunk, 'UTF8')) or tokens <> tokens_kept or"
        " model is distinct from (select fingerprint from pgembedd_internal.pipeline where id = %s)".replace(
            "%s", str(pipeline_id)
        ),
    )


def open_backfills(connection: psycopg.Connection, pipelines: list[int], scope: str) -> None:
    """As of a table of more rows than are queued at once; those that are open go on."""
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope) "
        "select p, %s from unnest(%s::int[]) p on conflict do nothing",
        (scope, pipelines),
    )


def waiting(connection: psycopg.Connection) -> set[tuple[str, int, int]]:
    """The messages there are: (queue, msg_id, read_ct); and the backfills that are not queued whole."""
    backfills = rows(connection, "select 'open', pipeline_id, 0 from pgembedd_internal.open_backfill")
    return {
        (lane, *row) for lane in LANES for row in rows(connection, f"select msg_id, read_ct from pgmq.q_{lane}")
    } | {(name, number, reads) for name, number, reads in backfills}


def exceptions(connection: psycopg.Connection) -> dict[tuple[int, Key], str]:
    """row_state by pipeline and key."""
    found = rows(
        connection, "select pipeline_id, key ->> 'tenant', key ->> 'slug', state from pgembedd_internal.row_state"
    )
    return {(pipeline, (int(tenant), slug)): state for pipeline, tenant, slug, state in found}


def letters(connection: psycopg.Connection) -> dict[tuple[int, Key], str]:
    """Reasons of dead letters by pipeline and key."""
    found = rows(
        connection, "select pipeline_id, key ->> 'tenant', key ->> 'slug', reason from pgembedd_internal.dead_letter"
    )
    return {(pipeline, (int(tenant), slug)): reason for pipeline, tenant, slug, reason in found}
