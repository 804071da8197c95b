"""The changes that are watched; no user code runs in the users' own transactions."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.postgres_versions import needs
from tests.support.sql import (
    call,
    column,
    create_pipeline,
    empty,
    make_documents,
    queued,
    value,
    vectors,
    work,
)

FUNCTION = "create function embedding_input(d documents) returns text language sql as $$ select d.title || '!' $$"


def watched(connection: psycopg.Connection, count: int = 3, **options: Any) -> None:
    """Documents whose existing rows are not queued."""
    make_documents(connection, count)
    create_pipeline(connection, **{"backfill": False, **options})


def test_with_on_update_clear_the_old_vector_goes_at_once(connection: psycopg.Connection) -> None:
    watched(connection, on_update="clear")
    call(connection, "backfill", pipeline="documents")
    work(connection)
    before = vectors(connection)
    connection.execute("update documents set other = 1")
    assert vectors(connection) == before
    connection.execute("update documents set title = 'new' where id = 2")
    assert vectors(connection) == [before[0], None, before[2]]
    assert queued(connection) == [2]


@pytest.mark.parametrize("mark", ["1", "documents", "pgembedd"])
def test_a_setting_hides_no_change(connection: psycopg.Connection, mark: str) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    work(connection)
    connection.execute("select set_config('pgembedd.storing', %s, false)", [mark])
    connection.execute("update documents set title = 'other'")
    assert queued(connection) == [1]


def test_with_on_update_keep_it_stays(connection: psycopg.Connection) -> None:
    watched(connection)
    call(connection, "backfill", pipeline="documents")
    work(connection)
    before = vectors(connection)
    connection.execute("update documents set title = 'new'")
    assert vectors(connection) == before


def test_watch_columns_decide_what_is_a_change(connection: psycopg.Connection) -> None:
    watched(connection, watch_columns=["other"])
    connection.execute("update documents set title = 'new'")
    assert queued(connection) == []
    connection.execute("update documents set other = 1 where id = 2")
    assert queued(connection) == [2]


def test_with_a_content_function_every_column_is_watched_but_vectors(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    connection.execute("alter table documents add image vector(2)")
    connection.execute(FUNCTION)
    create_pipeline(connection, content_function="embedding_input", backfill=False)
    connection.execute("update documents set image = '[1,2]'")
    assert queued(connection) == []
    connection.execute("update documents set other = 1")
    assert queued(connection) == [1, 2]


@pytest.mark.parametrize("storage", ["stored", pytest.param("virtual", marks=needs("virtual generated columns"))])
@pytest.mark.parametrize("on_update", ["keep", "clear"])
def test_a_generated_column_changes_with_its_sources(
    connection: psycopg.Connection, storage: str, on_update: str
) -> None:
    make_documents(connection, 2)
    connection.execute(f"alter table documents add text text generated always as (title || other) {storage}")
    create_pipeline(connection, content_columns=["text"], on_update=on_update, backfill=False)
    connection.execute("update documents set content = 'unrelated'")
    assert queued(connection) == []
    connection.execute("update documents set other = 5 where id = 2")
    assert queued(connection) == [2]
    assert work(connection) == {2: "written"}


def test_content_of_another_table(connection: psycopg.Connection) -> None:
    """Its changes are not seen; a touch of the row, by a trigger on that table for example, is."""
    make_documents(connection, 2)
    connection.execute("create table tags (id int references documents, tag text); insert into tags values (1, 'old')")
    connection.execute(
        "create function tagged(d documents) returns text language sql stable"
        " as $$ select d.title || string_agg(tag, ' ') from public.tags t where t.id = d.id $$"
    )
    create_pipeline(connection, content_function="tagged", watch_columns=["title", "other"])
    work(connection)
    connection.execute("update tags set tag = 'new'")
    assert queued(connection) == []
    connection.execute("""
        create function touch() returns trigger language plpgsql as $$
        begin
            update public.documents d set other = coalesce(other, 0) + 1 from changed where d.id = changed.id;
            return null;
        end $$;
        create trigger touch after update on tags referencing new table as changed
        for each statement execute function touch()
    """)
    connection.execute("update tags set tag = 'newer'")
    assert queued(connection) == [1]
    assert work(connection) == {1: "written"}


def test_several_pipelines_on_one_table(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, pipeline="titles", content_columns=["title"], embedding_column="title_vector")
    create_pipeline(connection, pipeline="contents", content_columns=["content"], embedding_column="content_vector")
    work(connection)
    connection.execute("update documents set title = 'new' where id = 1")
    assert column(connection, "select message -> 'pipeline' from pgmq.q_pgembedd_fresh") == [1]
    assert set(work(connection).values()) == {"written"}
    assert queued(connection) == []


@pytest.mark.parametrize("kind", ["json", "xid8", "point", "tsvector", "int[]", "mood"])
def test_columns_without_an_equality_of_their_own(connection: psycopg.Connection, kind: str) -> None:
    make_documents(connection, 2)
    connection.execute("create type mood as enum ('1')")
    connection.execute(f"alter table documents add odd {kind}")
    create_pipeline(connection, watch_columns=["odd"], backfill=False)
    sample = {"json": "{}", "point": "(1,2)", "int[]": "{1}"}.get(kind, "1")
    for ids in ([1], []):
        connection.execute(f"update documents set odd = '{sample}' where id = 1")
        assert queued(connection) == ids
        empty(connection)


def test_the_content_function_is_not_called_in_the_users_transaction(connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("""
        create function embedding_input(documents) returns text language plpgsql as $$
        begin raise exception 'called'; end $$
    """)
    create_pipeline(connection, content_function="embedding_input", on_update="clear")
    connection.execute("insert into documents values (1)")
    connection.execute("update documents set title = 'new'")
    assert queued(connection) == [1, 1]
    with pytest.raises(psycopg.errors.RaiseException, match="called"):
        work(connection)


def test_an_unqualified_content_function_is_found_where_its_creator_found_it(connection: psycopg.Connection) -> None:
    connection.execute("create schema app")
    connection.execute("set search_path to app, public")
    make_documents(connection, 1)
    connection.execute("create function helper(text) returns text language sql as $$ select $1 || '!' $$")
    # An unqualified name inside, resolved at run time.
    connection.execute("""
        create function embedding_input(d documents) returns text language plpgsql as $$
        begin return helper(d.title); end $$
    """)
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("set search_path to pg_catalog")
    assert work(connection) == {1: "written"}


@pytest.mark.parametrize("path", ["", "my-schema, public", '"$user", public', '"a b", public', "public,pg_catalog"])
def test_any_search_path(connection: psycopg.Connection, path: str) -> None:
    make_documents(connection, 1)
    connection.execute("select set_config('search_path', %s, false)", [path])
    create_pipeline(connection, source="public.documents")
    connection.execute("reset search_path")
    assert work(connection) == {1: "written"}
    assert value(connection, "select search_path from pgembedd_internal.pipeline") == path


def test_no_cast_of_the_users_runs_in_a_writers_transaction(connection: psycopg.Connection) -> None:
    connection.execute("""
        create type mood as enum ('happy', 'sad');
        create function mood_json(mood) returns json language plpgsql as $$ begin raise exception 'called'; end $$;
        create cast (mood as json) with function mood_json(mood);
        create function mood_eq(mood, mood) returns boolean language plpgsql as $$
            begin raise exception 'called'; end $$;
        create operator = (leftarg = mood, rightarg = mood, procedure = mood_eq);
        create table documents (id mood primary key, content mood, also mood[]);
    """)
    for trap in ("select to_jsonb('sad'::mood)", "select 'sad'::mood = 'sad'::mood"):
        with pytest.raises(psycopg.errors.RaiseException, match="called"):
            connection.execute(trap)
    create_pipeline(connection, content_columns=["content", "also"])
    connection.execute("insert into documents values ('happy', 'sad', '{sad}'), ('sad', 'sad', null)")
    connection.execute("update documents set content = 'happy', also = '{happy}'")
    assert sorted(queued(connection)) == ["happy", "happy", "sad", "sad"]
    assert work(connection) == {"happy": "written", "sad": "written"}
