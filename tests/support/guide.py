"""A database as a project leaves it that followed Supabase's guide to automatic embeddings, in our own words.

Of the guide only what it publishes as its interface: the schema util, the two trigger functions and their
arguments, the queue and its messages, the triggers, a halfvec column and a content function; and, where a test pushes,
`util.process_embeddings` with what it posts. The function at the edge is not here: pgembedd takes its place.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.support.sql import made_up

QUEUE = "embedding_jobs"
INSERT = "insert into documents (id, title, content) values (%s, 'one', 'text')"

UTILITIES = """
create schema util;
create function util.queue_embeddings() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    perform pgmq.send('embedding_jobs', jsonb_build_object(
        'id', new.id, 'schema', tg_table_schema, 'table', tg_table_name,
        'contentFunction', tg_argv[0], 'embeddingColumn', tg_argv[1]));
    return new;
end $$;
create function util.clear_column() returns trigger language plpgsql as $$
begin
    new := jsonb_populate_record(new, jsonb_build_object(tg_argv[0], null));
    return new;
end $$;
"""

TABLE = """
create table {table} (id {key}, title text, content text, other int, {column} {vector}){partitioned};
create function {function}(one {table}) returns text language sql immutable
as $$ select '# ' || one.title || E'\\n\\n' || one.content $$;
"""

PARTITIONS = """
create table {low} partition of {table} for values from (0) to (10);
create table {high} partition of {table} for values from (10) to (1000);
"""

TRIGGERS = """
create trigger {on_insert} after insert on {table} for each row
    execute function util.queue_embeddings({given}, {target});
create trigger {on_update} after update of title, content on {table} for each row
    execute function util.queue_embeddings({given}, {target});
"""

CLEARING = """
create trigger {on_clear} before update of title, content on {table} for each row
    execute function util.clear_column({target});
"""

PROCESSING = """
create function util.project_url() returns text language sql as $$ select {url} $$;
create function util.invoke_edge_function(name text, body jsonb, timeout_milliseconds int default 300000) returns void
language plpgsql as $$
begin
    perform net.http_post(
        url => util.project_url() || '/functions/v1/' || name, body => body,
        timeout_milliseconds => timeout_milliseconds,
        headers => jsonb_build_object('Content-Type', 'application/json', 'Authorization',
            current_setting('request.headers', true)::json ->> 'authorization'));
end $$;
create function util.process_embeddings(
    batch_size int default 10, max_requests int default 10, timeout_milliseconds int default 300000
) returns void language plpgsql as $$
declare
    batch jsonb;
begin
    for batch in
        select jsonb_agg(j.job)
        from (select r.message || jsonb_build_object('jobId', r.msg_id) as job,
                     (row_number() over (order by r.msg_id) - 1) / batch_size as nth
              from pgmq.read('embedding_jobs', timeout_milliseconds / 1000, max_requests * batch_size) r) j
        group by j.nth order by j.nth
    loop
        perform util.invoke_edge_function('embed', batch, timeout_milliseconds);
    end loop;
end $$;
"""


def process_as_the_guide(connection: psycopg.Connection, url: str) -> None:
    """The guide's functions that post jobs to a project's URL; pg_net's must be there."""
    connection.execute(sql.SQL(PROCESSING).format(url=sql.Literal(url)))


def follow_guide(connection: psycopg.Connection) -> None:
    """The part that is done once: extensions, util, the queue."""
    connection.execute(UTILITIES)
    connection.execute("select pgmq.create(%s) where to_regclass('pgmq.q_embedding_jobs') is null", [QUEUE])


def guide_table(
    connection: psycopg.Connection,
    table: str = "documents",
    *,
    schema: str = "public",
    key: str = "int primary key",
    column: str = "embedding",
    vector: str = "halfvec(384)",
    function: str = "embedding_input",
    clear: bool = False,
    triggers: bool = True,
    partitioned: bool = False,
) -> None:
    """A table, its content function next to it, and the guide's triggers; partitions `table 1` and `table 2` by id."""
    parts = {
        "table": sql.Identifier(schema, table),
        "low": sql.Identifier(schema, f"{table} 1"),
        "high": sql.Identifier(schema, f"{table} 2"),
        "function": sql.Identifier(schema, function.rpartition(".")[2]),
        "column": sql.Identifier(column),
        "given": sql.Literal(function),
        "target": sql.Literal(column),
        **{f"on_{event}": sql.Identifier(f"{table}_on_{event}") for event in ("insert", "update", "clear")},
    }
    statements = (
        TABLE + (PARTITIONS if partitioned else "") + (TRIGGERS if triggers else "") + (CLEARING if clear else "")
    )
    by_range = sql.SQL(" partition by range (id)" if partitioned else "")
    types = {"key": sql.SQL(key), "vector": sql.SQL(vector), "partitioned": by_range}
    connection.execute(sql.SQL(statements).format(**parts, **types))


def posted(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The jobs as the guide posts them, read under its lease."""
    found = connection.execute(
        "select message || jsonb_build_object('jobId', msg_id) from pgmq.read('embedding_jobs', 300, 100) "
        "order by msg_id"
    ).fetchall()
    return [job for (job,) in found]


def waiting_messages(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """All that the guide's queue holds, with every column, in the order of the numbers."""
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute("select * from pgmq.q_embedding_jobs order by msg_id").fetchall()


def trigger_definitions(connection: psycopg.Connection) -> dict[str, str]:
    """The definitions of the triggers by name, those of partitions left out."""
    found = connection.execute(
        "select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal and tgparentid = 0"
    )
    return dict(found.fetchall())


def embed(text: str) -> list[float]:
    """A made-up vector of as many numbers as the default model gives."""
    return made_up(text) * 128
