"""A database as a project leaves it that followed Supabase's guide to automatic embeddings, in our own words.

Of the guide only what it publishes as its interface: the schema util, the two trigger functions and their
arguments, the queue and its messages, the triggers, a halfvec column and a content function. pg_net and the function
at the edge, which do the embedding there, are not here: a worker of pgembedd takes their place.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

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
create table {table} (id {key}, title text, content text, other int, {column} {vector});
create function {function}(one {table}) returns text language sql immutable
as $$ select '# ' || one.title || E'\\n\\n' || one.content $$;
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
) -> None:
    """A table, its content function beside it, and the guide's triggers."""
    parts = {
        "table": sql.Identifier(schema, table),
        "function": sql.Identifier(schema, function),
        "column": sql.Identifier(column),
        "given": sql.Literal(function),
        "target": sql.Literal(column),
        **{f"on_{event}": sql.Identifier(f"{table}_on_{event}") for event in ("insert", "update", "clear")},
    }
    statements = TABLE + (TRIGGERS if triggers else "") + (CLEARING if clear else "")
    types = {"key": sql.SQL(key), "vector": sql.SQL(vector)}
    connection.execute(sql.SQL(statements).format(**parts, **types))


def embed(text: str) -> list[float]:
    """A made-up vector of as many numbers as the default model gives."""
    return made_up(text) * 128
