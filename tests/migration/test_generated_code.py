"""A migration makes the code of a pipeline again where it is not as this version made it, and leaves all else alone."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from tests.support.databases import Database
from tests.support.roles import Roles
from tests.support.search import make_source
from tests.support.sql import column, create_pipeline, make_documents, rows, value

# The versions of the rows of the catalog that the pipelines' code and triggers are.
VERSIONS = """
    select f.proname, concat(f.xmin, f.ctid) from pg_proc f
    where f.pronamespace = 'pgembedd_code'::regnamespace or f.proname ~ '^_search_[0-9]+_'
    union all
    select g.tgname, concat(g.xmin, g.ctid) from pg_trigger g where g.tgname like 'pgembedd%' order by 1
"""


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """Two pipelines, one of them with an embedding table."""
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(
        connection, pipeline="letters", source="letters", content_columns=["title"], embedding_table="chunks"
    )
    return connection


def test_a_repeated_migration_makes_nothing_again(
    roles: Roles, database: Database, documents: psycopg.Connection
) -> None:
    documents.execute(f"select pgembedd.grant_search('{roles.make('reader')}')")
    migrate(database.conninfo)
    before = rows(documents, VERSIONS)
    migrate(database.conninfo)
    assert rows(documents, VERSIONS) == before


CHANGES = {
    "by another version": "update pgembedd_internal.installation set sql_digest = 'older'; "
    "update pgembedd_internal.pipeline p set code_version = pgembedd_internal._code_version(p.id)",
    "altered": "alter function pgembedd_code.pipeline_1_on_insert() reset all",
    "granted": "grant execute on function pgembedd_code.pipeline_1_on_insert() to public",
    "a trigger that is gone": "drop trigger pgembedd_1_insert on documents",
    "a function that is gone": "drop function pgembedd_internal._search_1_rows",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_not_as_it_was_made_is_made_again(
    database: Database, documents: psycopg.Connection, change: str
) -> None:
    definitions = """
        select pg_get_functiondef(f.oid), f.proacl::text from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace or f.proname ~ '^_search_[0-9]+_'
        union all select pg_get_triggerdef(g.oid), null from pg_trigger g where g.tgname like 'pgembedd%' order by 1
    """
    before, versions = rows(documents, definitions), dict(rows(documents, VERSIONS))
    documents.execute(change.encode())
    migrate(database.conninfo)
    assert rows(documents, definitions) == before
    now = dict(rows(documents, VERSIONS))
    assert now["pipeline_1_on_insert"] != versions["pipeline_1_on_insert"]
    again = now["pipeline_2_on_insert"] != versions["pipeline_2_on_insert"]
    assert again == (change == CHANGES["by another version"])


OTHERWISE = {
    "pgvector moved": "create schema aside; alter extension vector set schema aside",
    "the view gone": "drop view chunks_view",
    "the view another role's": "alter view chunks_view owner to pgembedd",
    "a table renamed while paused": "select pgembedd.pause('letters'); alter table letters rename to mail",
    "a column gone": "alter table documents drop column content",
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE)
def test_what_stands_on_something_else_by_now_is_made_again_too(
    database: Database, documents: psycopg.Connection, change: str
) -> None:
    """The same is there as where all code is made again."""
    there = """
        select pg_get_functiondef(f.oid), f.proacl::text from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace or f.proname ~ '^_search_[0-9]+_'
        union all select concat_ws(' ', c.relname, c.relowner), pg_get_viewdef(c.oid) from pg_class c
        where c.relname = 'chunks_view'
        union all select p.name, p.state from pgembedd_internal.pipeline p order by 1
    """
    migrate(database.conninfo)
    documents.execute(change.encode())
    migrate(database.conninfo)
    found = rows(documents, there)
    documents.execute("update pgembedd_internal.pipeline set code_version = null")
    migrate(database.conninfo)
    assert found == rows(documents, there)


def test_a_timeout_of_the_migrator_s_role_ends_no_sweep(database: Database, documents: psycopg.Connection) -> None:
    documents.execute(
        "create table timeouts (timeout text);"
        "create function note() returns trigger language plpgsql security definer as $$ begin "
        "insert into public.timeouts values (current_setting('statement_timeout')); return null; end $$;"
        "create trigger note after insert on pgmq.q_pgembedd_backfill execute function note();"
        "select pgmq.purge_queue(queue_name) from pgmq.meta"
    )
    documents.execute(f"alter database {database.name} set statement_timeout = '1 h'")
    migrate(database.conninfo)
    assert column(documents, "select distinct timeout from timeouts") == ["0"]


def test_searches_follow_a_view_of_other_columns(database: Database, connection: psycopg.Connection) -> None:
    """The functions of a pipeline's searches take and return rows of our views."""
    make_source(connection, 3)
    connection.execute("alter view pgembedd_internal._search_hit rename column held to older")
    migrate(database.conninfo)
    found = column(connection, "select key from pgembedd.search('documents', 'title', mode => 'text')")
    assert len(found) == 3
    assert value(connection, "select count(*) from pg_proc where proname ~ '^_search_[0-9]+_'") > 0
