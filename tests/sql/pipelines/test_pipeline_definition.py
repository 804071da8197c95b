"""The view pipelines and pipeline_definition(): each shows a pipeline in the words of create_pipeline()."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.sql import call, column, make_documents, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

# What became of a pipeline, and what is another number or moment each time.
BECAME = "{id,created_at,state_since,shape,content_shape,code_version,sweep_due_at,index_due_at}"
ROW = "select to_jsonb(p) - %s::text[] from pgembedd_internal.pipeline p where name = %s"
TEXTS = {"content_columns": ["title", "content"]}
CHUNKS = {"content_columns": ["content"], "embedding_table": "chunks"}

KINDS: dict[str, dict[str, Any]] = {
    "defaults": TEXTS,
    "other columns": {"content_columns": ["content", "title"], "watch_columns": ["other", "title"]},
    "watching what the content is made of": TEXTS | {"watch_columns": ["content", "title"]},
    "watching nothing": TEXTS | {"watch_columns": []},
    "a named column": TEXTS | {"embedding_column": 'it\'s "the" \\ vector é'},
    "a function": {"content_function": "embedding_input"},
    "a function that reads one column": {"content_function": "embedding_input", "watch_columns": ["title"]},
    "an odd function": {"content_function": '"odd schema"."the input"'},
    "another model": TEXTS | {"model": "all-MiniLM-L6-v2"},
    "a provider's model": TEXTS | {"model": "openai:text-embedding-3-small", "dimensions": 256},
    "another vector": TEXTS | {"vector_type": "vector", "distance": "ip", "dimensions": 3},
    "clearing": TEXTS | {"on_update": "clear", "max_attempts": 7, "enable_always": True},
    "without triggers": TEXTS | {"triggers": False},
    "retries": TEXTS | {"retry_delay": timedelta(seconds=1.5), "retry_factor": 1.25, "retry_max_delay": "2 days"},
    "without index": TEXTS | {"index_type": "none", "index_options": '{"m": 8}'},
    "another index": TEXTS | {"index_options": '{"m": 32, "ef_construction": 128}', "index_when": "later"},
    "without words": TEXTS | {"text_config": "none"},
    "german words": TEXTS | {"text_config": "german"},
    "words of each row": TEXTS | {"text_config": "language"},
    "chunks": CHUNKS,
    "long chunks": CHUNKS | {"chunk_tokens": 99, "chunk_overlap_tokens": 9, "splitter": "markdown"},
    "formatted chunks": CHUNKS | {"formatting": "$title: $chunk", "embedding_table": '"odd schema"."the chunks"'},
    "a partitioned table": {"source": "parts", "content_columns": ["content"]},
    "an odd table": {"source": '"odd schema"."it\'s"', "content_columns": ['the "text"', "\\ {},"]},
    "generated content": {"content_columns": ["made"]},
}

TABLES = r'''
    create schema "odd schema";
    alter table documents add language text, add made text generated always as (title || content) stored;
    create function embedding_input(documents) returns text language sql as 'select $1.title';
    create function "odd schema"."the input"(documents) returns text language sql as 'select $1.title';
    create table parts (id int, part int, content text, primary key (id, part)) partition by list (part);
    create table part partition of parts for values in (1);
    create table "odd schema"."it's" ("the id" int primary key, "the ""text""" text, "\ {}," text);
'''


@prepared
def tables(connection: psycopg.Connection) -> None:
    """Tables and functions of all kinds."""
    make_documents(connection, 2)
    connection.execute(TABLES.encode())


def make(connection: psycopg.Connection, options: dict[str, Any], pipeline: str = "documents") -> None:
    """A pipeline with these options, and all others left out."""
    call(connection, "create_pipeline", **{"pipeline": pipeline, "source": "documents"} | options)


def definition(connection: psycopg.Connection, pipeline: str = "documents") -> str:
    return str(value(connection, "select pgembedd.pipeline_definition(%s)", pipeline))


def assert_makes_the_same(connection: psycopg.Connection) -> None:
    """The definition of the pipeline makes it again, and is the definition of that one."""
    written, before = definition(connection), value(connection, ROW, BECAME, "documents")
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)
    connection.execute(written.encode())
    assert value(connection, ROW, BECAME, "documents") == before
    assert definition(connection) == written


@pytest.mark.parametrize("kind", KINDS)
def test_it_makes_the_same_pipeline(tables: psycopg.Connection, kind: str) -> None:
    make(tables, KINDS[kind])
    assert_makes_the_same(tables)


def test_only_what_differs_is_in_it(tables: psycopg.Connection) -> None:
    make(tables, TEXTS | {"max_attempts": 7, "dimensions": 384, "retry_delay": "2 s", "index_options": "{}"})
    assert definition(tables) == "\n    ".join(
        [
            "select pgembedd.create_pipeline(",
            "pipeline => 'documents',",
            "source => 'public.documents',",
            "content_columns => array['title', 'content'],",
            "max_attempts => 7,",
            "text_config => 'pg_catalog.english')",
        ]
    )


def test_it_is_the_same_in_every_session(tables: psycopg.Connection) -> None:
    make(tables, TEXTS | {"retry_delay": "1 day 2 s", "retry_max_delay": "3 days"})
    before = definition(tables)
    tables.execute("set intervalstyle = 'iso_8601'; set default_text_search_config = 'german'; set search_path = ''")
    tables.execute("set quote_all_identifiers = on; set datestyle = 'german'; set extra_float_digits = -10")
    assert definition(tables) == before


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "watch_columns": st.lists(st.sampled_from(["content", "language", "other", "title"]), unique=True).map(
                sorted  # as they are noted, whatever the order in which they are given
            ),
            "dimensions": st.sampled_from([None, 3, 384]),
            "vector_type": st.sampled_from(["halfvec", "vector"]),
            "distance": st.sampled_from(["cosine", "l2", "ip"]),
            "on_update": st.sampled_from(["keep", "clear"]),
            "max_attempts": st.integers(1, 100),
            "index_type": st.sampled_from(["hnsw", "none"]),
            "index_options": st.sampled_from(["{}", '{"m": 20}', '{"m": 16}', '{"ef_construction": 99}']),
            "embedding_table": st.sampled_from([None, "chunks", '"odd schema"."the chunks"']),
            "enable_always": st.booleans(),
            "text_config": st.sampled_from([None, "none", "german", "language", "simple"]),
            "retry_delay": st.sampled_from(["0", "2 s", "1 min"]),
            "retry_factor": st.floats(1, 100),
            "retry_max_delay": st.sampled_from(["10 min", "30 days"]),
        },
    )
)
def test_whatever_was_asked_for_it_makes_the_same(tables: psycopg.Connection, options: dict[str, Any]) -> None:
    with tables.transaction(force_rollback=True):
        make(tables, TEXTS | options)
        assert_makes_the_same(tables)
        again = definition(tables).removesuffix(")") + ", if_not_exists => true)"
        assert value(tables, again.replace("%", "%%")) == 0


def test_after_a_change_of_the_model_it_is_of_the_new_one(tables: psycopg.Connection) -> None:
    make(tables, TEXTS | {"backfill": False})
    call(tables, "change_model", pipeline="documents", model="all-MiniLM-L6-v2", backfill=False)
    assert "model" not in definition(tables)
    assert "embedding_column => 'embedding_next'" in definition(tables, "documents.next")
    call(tables, "switch_model", pipeline="documents", force=True)
    assert "model => 'all-MiniLM-L6-v2'" in definition(tables)


def test_of_a_table_that_was_dropped_the_name_stays(tables: psycopg.Connection) -> None:
    make(tables, CHUNKS)
    tables.execute("drop table documents, chunks cascade")
    assert value(tables, "select (source, embedding_table)::text from pgembedd.pipelines") == (
        "(public.documents,public.chunks)"
    )
    assert "source => 'public.documents'" in definition(tables)


@pytest.mark.parametrize(
    ("options", "named"),
    [({}, False), ({"watch_columns": ["title"]}, True), ({"watch_columns": ["id", "title", "content", "other"]}, True)],
)
def test_columns_that_follow_from_the_content_are_left_out_when_the_table_changes(
    tables: psycopg.Connection, options: dict[str, Any], named: bool
) -> None:
    tables.execute("alter table documents drop made, drop language")
    make(tables, {"content_function": "embedding_input"} | options)
    tables.execute("alter table documents add further text; alter table documents rename other to others")
    assert ("watch_columns" in definition(tables)) == named
    if not named:
        again = definition(tables).removesuffix(")") + ", if_not_exists => true)"
        assert value(tables, again) == 0


def test_a_pipeline_that_is_not_there(connection: psycopg.Connection) -> None:
    with refused('There is no pipeline "nope".'):
        definition(connection, "nope")


# -- The view ----------------------------------------------------------------------------------------------


def test_the_view_has_a_column_for_each_option_that_lasts(tables: psycopg.Connection) -> None:
    columns = column(
        tables,
        "select attname from pg_attribute where attrelid = 'pgembedd.pipelines'::regclass and attnum > 0"
        " order by attnum",
    )
    parameters = value(tables, "select proargnames from pg_proc where proname = 'create_pipeline'")
    once = {"backfill", "index_when", "index_within", "existing_vectors", "if_not_exists"}
    later = [
        "task",
        "into_table",
        "uri_column",
        "uri_prefixes",
        "recheck_interval",
        "objects_uri",
    ]  # a view keeps its order
    assert columns == [*(name for name in parameters if name not in {*once, *later}), "state", "created_at", *later]


def test_the_view_shows_what_is_in_force(tables: psycopg.Connection) -> None:
    make(tables, TEXTS | {"index_options": '{"m": 8}'})
    call(tables, "pause", pipeline="documents")
    (found,) = rows(
        tables,
        "select pipeline, source, embedding_column, dimensions, watch_columns, index_type, index_options, text_config,"
        " retry_delay, state from pgembedd.pipelines",
    )
    assert found == (
        *("documents", "public.documents", "embedding", 384, ["content", "title"], "hnsw"),
        *({"m": 8, "ef_construction": 64}, "pg_catalog.english", timedelta(seconds=2), "paused"),
    )


def test_an_operator_may_see_both(roles: Roles, tables: psycopg.Connection) -> None:
    operator, stranger = roles.make("operator"), roles.make("stranger")
    make(tables, TEXTS)
    before = definition(tables)
    tables.execute(f"select pgembedd.grant_operator('{operator}')".encode())
    tables.execute(f"set role {operator}".encode())
    assert column(tables, "select pipeline from pgembedd.pipelines") == ["documents"]
    assert definition(tables) == before
    tables.execute(f"set role {stranger}".encode())
    for statement in ("select * from pgembedd.pipelines", "select pgembedd.pipeline_definition('documents')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tables.execute(statement.encode())
