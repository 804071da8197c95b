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


def test_code_follows_the_extension_to_another_schema(database: Database, documents: psycopg.Connection) -> None:
    documents.execute("create schema elsewhere; alter extension vector set schema elsewhere")
    migrate(database.conninfo)
    named = """
        select count(*) filter (where f.prosrc like '%elsewhere.halfvec%'),
               count(*) filter (where f.prosrc like '%public.halfvec%')
        from pg_proc f where f.pronamespace = 'pgembedd_code'::regnamespace
    """
    ((new, old),) = rows(documents, named)
    assert (new > 0, old) == (True, 0)


def test_searches_follow_a_view_of_other_columns(database: Database, connection: psycopg.Connection) -> None:
    """The functions of a pipeline's searches take and return rows of our views."""
    make_source(connection, 3)
    connection.execute("alter view pgembedd_internal._search_hit rename column held to older")
    migrate(database.conninfo)
    found = column(connection, "select key from pgembedd.search('documents', 'title', mode => 'text')")
    assert len(found) == 3
    assert value(connection, "select count(*) from pg_proc where proname ~ '^_search_[0-9]+_'") > 0
