"""What searches know of a pipeline is prepared, and looked up again where its tables are not what they were."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.refusals import refused
from tests.support.roles import Roles
from tests.support.search import FOLLOW, QUERY, make_source, search
from tests.support.sql import call, look_twice, rows, state, value
from tests.support.transaction import connection

__all__ = ["connection"]

# Each with what the record of a hit has then.
ALTERED = {
    "alter table documents rename content to body": ("body", "content 1"),
    "alter table documents rename id to number": ("number", 1),
    "alter table documents add note text default 'new'": ("note", "new"),
    "alter table documents alter share type text using 'now a text'": ("share", "now a text"),
    "alter table documents rename to papers": ("id", 1),
    "create schema app; alter table documents set schema app": ("id", 1),
    "create domain small as int; alter table documents alter id type small": ("id", 1),
    "alter table documents alter id type bigint": ("id", 1),
    "create index on documents using hnsw (embedding halfvec_l2_ops)": ("id", 1),
    "drop index documents_embedding_hnsw": ("id", 1),
}


def known(connection: psycopg.Connection) -> Any:
    """Whether what was prepared is what a search uses; names are written as under its search_path."""
    connection.execute("set search_path to pg_catalog, pgembedd_internal, pgembedd, pg_temp")
    prepared = value(
        connection,
        "select s.basis = b.basis from prepared_search s join _search_basis b on b.pipeline_id = s.pipeline_id",
    )
    connection.execute("reset search_path")
    return prepared


def test_what_is_prepared_is_used(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    connection.execute(
        "update pgembedd_internal.prepared_search set target = target - 'kept'"
        " || jsonb_build_object('row_expression', '''{\"prepared\": 1}''::pg_catalog.jsonb')"
    )
    assert search(connection, k=1)[0].record == {"prepared": 1}


@pytest.mark.parametrize("verb", ["nearest_row", "rows", "page"])
def test_statements_with_a_plan_are_used(connection: psycopg.Connection, verb: str) -> None:
    make_source(connection, 3)
    definition = value(
        connection, "select pg_get_functiondef(f.oid) from pg_proc f where f.proname = '_search_1_' || %s", verb
    )
    connection.execute(definition.replace("\nbegin ", "\nbegin raise 'called'; ", 1).encode())
    with pytest.raises(psycopg.errors.RaiseException, match="called"):
        search(connection, k=1, mode="semantic")


@pytest.mark.parametrize(("path", "parts"), [("exact_row", 2), ("watched_row", 3)])
def test_statements_around_a_filter_are_used(connection: psycopg.Connection, path: str, parts: int) -> None:
    make_source(connection, 30, index_type="none" if path == "exact_row" else "hnsw")
    connection.execute("set seq_page_cost = 1e6")
    kept = value(connection, "select filters -> %s from pgembedd_internal.prepared_search", path)
    assert len(kept) == parts
    broken = {path: ["select nothing (", *["--"] * (parts - 1)]}
    connection.execute("update pgembedd_internal.prepared_search set filters = filters || %s", [Jsonb(broken)])
    with pytest.raises(psycopg.errors.SyntaxError):
        search(connection, k=1, mode="semantic", filter={"share": {"$lt": 500}})


WORDS_ALTERED = {
    "": 0,
    "drop view documents_words_view": 1,
    "drop text search configuration mine.words; create text search configuration mine.words (copy = simple)": 1,
    """create table copied (like documents_words including all); insert into copied select * from documents_words;
       drop table documents_words cascade; alter table copied rename to documents_words;
       update pgembedd_internal.pipeline set words_table = 'documents_words'""": 1,
}


@pytest.mark.parametrize("statement", WORDS_ALTERED)
def test_words_that_are_prepared_are_looked_up_again_once_they_are_others(
    connection: psycopg.Connection, statement: str
) -> None:
    connection.execute("create schema mine; create text search configuration mine.words (copy = simple)")
    make_source(connection, 3, text_config="mine.words")
    connection.execute("insert into documents_words select id, to_tsvector('simple', content) from documents")
    connection.execute(statement.encode())
    connection.execute("set local track_functions = 'all'")
    calls = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = '_with_search_words'"
    before = value(connection, calls)
    hits = search(connection, query="content", mode="text")
    assert sorted(hit.key for hit in hits) == [1, 2, 3]
    assert value(connection, calls) == before + WORDS_ALTERED[statement]


@pytest.mark.parametrize("index", ["none", "invalid"])
def test_a_page_without_an_index_is_found_by_an_exact_scan(connection: psycopg.Connection, index: str) -> None:
    """Which keeps the first hits; the statement for an index sorts all rows where there is none."""
    make_source(connection, 30, index_type="hnsw" if index == "invalid" else "none")
    invalid = "update pg_index set indisvalid = false where indexrelid = to_regclass('documents_embedding_hnsw')"
    connection.execute(invalid)
    connection.execute(FOLLOW)
    definition = value(
        connection, "select pg_get_functiondef(f.oid) from pg_proc f where f.proname = '_search_1_nearest_row'"
    )
    connection.execute(definition.replace("\nbegin ", "\nbegin raise 'called'; ", 1).encode())
    assert len(search(connection, k=10)) == 10


def test_statements_are_for_all_roles_where_search_is(connection: psycopg.Connection) -> None:
    connection.execute("grant execute on all functions in schema pgembedd_internal to public")
    make_source(connection, 3)
    found = "select distinct has_function_privilege('pg_monitor', oid, 'execute') from pg_proc"
    assert value(connection, f"{found} where proname ~ '^_search_[0-9]'") is True


@pytest.mark.parametrize("table", [None, "chunks"])
def test_a_plan_of_a_session_hides_what_policies_hide(
    roles: Roles, connection: psycopg.Connection, table: str | None
) -> None:
    make_source(connection, 6, embedding_table=table)
    reader = roles.make("reader")
    connection.execute("select pgembedd.grant_search(%s)", [reader])
    connection.execute(f"grant select on documents to {reader}")
    for _ in range(7):  # the plan is kept from the sixth on
        assert len(search(connection, k=10)) == 6
    connection.execute("alter table documents enable row level security")
    connection.execute("create policy few on documents using (id <= 2)")
    connection.execute("select pgembedd_internal._repair()")
    for role, visible in ((reader, 2), ("none", 6), (reader, 2)):
        connection.execute(f"set role {role}")
        assert len(search(connection, k=10)) == visible
    connection.execute("reset role")


@pytest.mark.parametrize("statement", ALTERED)
def test_a_table_that_is_altered_is_searched_as_it_is(connection: psycopg.Connection, statement: str) -> None:
    make_source(connection, 3)
    assert known(connection)
    connection.execute(statement)
    assert not known(connection)
    name, shown = ALTERED[statement]
    assert shown in [hit.record[name] for hit in search(connection, k=3)]
    call(connection, "sweep")
    stops = statement.startswith(("alter table documents rename content", "alter table documents rename id"))
    assert known(connection) is not stops
    assert shown in [hit.record[name] for hit in search(connection, k=3)]


def test_a_key_of_a_domain_over_a_type_that_is_renamed_is_searched(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    connection.execute(
        "create type number as enum ('1', '2', '3'); create domain small as number;"
        "alter table documents alter id type small using id::text::small"
    )
    call(connection, "sweep")
    assert known(connection)
    connection.execute("alter type number rename to figure")
    assert not known(connection)
    assert len(search(connection, k=3, filter={"title": "title 1"})) == 1


ALTERED_MEANWHILE = """
    create function pg_temp.rename_share() returns event_trigger language plpgsql as $$
    begin alter table public.documents rename share to part; exception when undefined_column then null; end $$;
    create event trigger renaming on ddl_command_end when tag in ('CREATE FUNCTION')
    execute function pg_temp.rename_share()
"""


def test_a_table_that_is_altered_while_it_is_prepared_is_prepared_again(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    connection.execute("alter table documents add note text")
    connection.execute(ALTERED_MEANWHILE)
    connection.execute(FOLLOW)
    assert not known(connection)
    for _ in range(2):
        assert "part" in search(connection, k=1)[0].record
        call(connection, "sweep")
    assert known(connection)


def test_the_words_of_a_table_that_is_renamed_come_with_the_next_sweep(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    call(connection, "sweep")
    before = search(connection, query="content", mode="text")
    assert len(before) == 3
    connection.execute("alter table documents rename to papers")
    with refused('The words of "documents" have not got the name of public.papers yet.'):
        search(connection, query="content", mode="text")
    assert [hit.text_rank for hit in search(connection, query="content", mode="hybrid")] == [None] * 3
    call(connection, "sweep")
    assert search(connection, query="content", mode="text") == before


def test_a_search_that_cannot_be_prepared_stops_no_pipeline(connection: psycopg.Connection) -> None:
    make_source(connection, 3)
    connection.execute(
        "create function pg_temp.refuse() returns event_trigger language plpgsql as"
        " $$ begin raise using message = 'not now'; end $$; create event trigger refusing on ddl_command_start"
        " when tag in ('CREATE FUNCTION') execute function pg_temp.refuse(); alter table documents add note text"
    )
    look_twice(connection)
    assert state(connection) == "running"
    assert not known(connection)
    connection.execute("drop event trigger refusing")
    call(connection, "sweep")
    assert known(connection)


@pytest.mark.parametrize("table", ["documents", "chunks"])
def test_an_index_of_other_columns_leaves_the_search_prepared(connection: psycopg.Connection, table: str) -> None:
    make_source(connection, 3, embedding_table="chunks" if table == "chunks" else None)
    column = "share" if table == "documents" else "tokens"
    connection.execute(f"create index on {table} ({column}); create index on {table} ({column}, embedding)")
    assert known(connection)


def test_an_embedding_table_that_is_renamed_is_searched(connection: psycopg.Connection) -> None:
    make_source(connection, 3, embedding_table="chunks")
    assert known(connection)
    connection.execute("alter table chunks rename to parts")
    assert not known(connection)
    assert len(search(connection, k=3)) == 3


def test_the_functions_belong_to_the_installer_whoever_makes_the_pipeline(
    roles: Roles, connection: psycopg.Connection
) -> None:
    other, reader = roles.make("other", "superuser"), roles.make("reader")
    connection.execute("select pgembedd.grant_search(%s)", [reader])  # before there is a pipeline
    connection.execute(f"set role {other}")
    make_source(connection, 3)
    connection.execute(f"grant select on documents to {reader}")
    made = (
        "select f.proowner, has_function_privilege(%s, f.oid, 'execute') from pg_proc f where f.proname ~ '^_search_1_'"
    )
    installer = value(connection, "select nspowner from pg_namespace where nspname = 'pgembedd'")
    assert rows(connection, made, reader) == [(installer, True)] * 4
    connection.execute(f"set role {reader}")
    assert len(search(connection, k=3)) == 3
    connection.execute("reset role")
    connection.execute("select pgembedd.drop_pipeline('documents')")
    assert rows(connection, made, reader) == []
    connection.execute(f"reassign owned by {other} to current_user")


SEARCHES = [
    *(
        f"search({source}, 'content', mode => '{mode}', embedding => '{QUERY}'::vector)"
        for source in ("'documents'", "null::documents")
        for mode in ("semantic", "text", "hybrid")
    ),
    "search_many('{documents}', 'content', mode => 'text')",
    "similar('documents', to_jsonb(1))",
]


@pytest.mark.parametrize("asked", SEARCHES)
def test_the_first_search_of_a_session_searches_once(connection: psycopg.Connection, asked: str) -> None:
    """Where no plan is kept yet, the planner computes what it estimates rows by, functions included."""
    make_source(connection, 3)
    connection.execute("set local track_functions = 'all'")
    calls = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname ~ '^_search_(many_)?hits$'"
    before = value(connection, calls)
    rows(connection, f"select * from pgembedd.{asked}")
    assert value(connection, calls) == before + 1
