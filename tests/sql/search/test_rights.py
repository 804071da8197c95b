"""A search runs as its caller: grants on tables and columns and row level security hold, and nothing is gained."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from tests.sql.search.test_words import make_texts
from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY, make_source, search
from tests.support.sql import call, column, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

TYPED = "select (hit.record).id from pgembedd.search(null::documents, null, embedding => %s) hit"


@pytest.fixture
def reader(roles: Roles, connection: psycopg.Connection) -> str:
    """A role that may search, and reads no table yet. `documents` has 20 rows."""
    name = roles.make("reader")
    make_source(connection, 20)
    connection.execute("select pgembedd.grant_search(%s)", [name])
    return name


def test_only_those_that_read_our_own_tables_are_definers(connection: psycopg.Connection) -> None:
    definers = column(
        connection,
        "select proname from pg_proc where oid in (select f from pgembedd_internal._search_functions() f) and prosecdef"
        " order by 1",
    )
    assert definers == [
        "_row_statuses",
        "_search_shares",
        "_search_target",
        "_search_waiting",
        "_searched_pipelines",
        "pipeline_status",
    ]


def test_nothing_is_granted_beyond_a_search(roles: Roles, connection: psycopg.Connection, reader: str) -> None:
    granted = column(
        connection,
        "select p.oid::regprocedure::text from pg_proc p "
        "where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)"
        f" and has_function_privilege('{reader}', p.oid, 'execute')",
    )
    functions = column(connection, "select f::text from pgembedd_internal._search_functions() f")
    assert set(granted) - set(functions) == {
        name for name in granted if name.startswith(("pgembedd.embed(", "pgembedd.schema_version("))
    }
    stranger = roles.make("stranger")
    connection.execute(f"set role {stranger}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        search(connection)
    connection.execute("reset role")


def test_a_role_that_may_not_read_the_table_is_told_what_is_missing(
    roles: Roles, database: Database, connection: psycopg.Connection, reader: str
) -> None:
    with connect_as(database, reader) as theirs:
        missing = f"The role {reader} may not read id, embedding of public.documents, without which it cannot search."
        with refused(missing, f"GRANT SELECT (id, embedding) ON public.documents TO {reader}."):
            search(theirs)
        connection.execute(f"grant select on documents to {reader}")
        assert len(search(theirs, k=1000)) == 20


@pytest.mark.slow
def test_a_table_in_a_schema_that_is_closed_to_others_is_searched(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    reader = roles.make("reader")
    connection.execute("create schema closed; set search_path = closed, public")
    make_source(connection, 20)
    connection.execute("reset search_path; select pgembedd.tick(0, 0)")
    assert value(connection, "select source::text from pgembedd_internal.pipeline") == "closed.documents"
    assert len(search(connection, k=1000)) == 20
    connection.execute(f"grant usage on schema closed to {reader}; grant select on closed.documents to {reader}")
    connection.execute("select pgembedd.tick(0, 0); select pgembedd.grant_search(%s)".replace("%s", f"'{reader}'"))
    with connect_as(database, reader) as theirs:
        assert len(search(theirs, k=1000)) == 20


def test_the_rights_on_columns_hold(
    roles: Roles, database: Database, connection: psycopg.Connection, reader: str
) -> None:
    connection.execute(f"grant select (id, title, embedding) on documents to {reader}")
    with connect_as(database, reader) as theirs:
        hit = search(theirs)[0]
        assert set(hit.record) == {"id", "title"}
        assert hit.snippet == f"title {hit.key}"
        with refused('public.documents has no column "share" that you may filter by.', "There are: id, title."):
            search(theirs, filter={"share": 1})
        with refused(
            f"The role {reader} may not read content, share of public.documents, so it cannot have whole rows.",
            "pgembedd.search('documents', ...)",
        ):
            theirs.execute(TYPED, [QUERY])


@pytest.mark.slow
def test_the_chunks_of_a_table_that_is_read_by_columns_are_closed(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    reader = roles.make("reader")
    make_source(connection, 20, embedding_table="chunks")
    connection.execute(f"grant select (id, title) on documents to {reader}")
    connection.execute("select pgembedd.tick(0, 0); select pgembedd.grant_search(%s)".replace("%s", f"'{reader}'"))
    with connect_as(database, reader) as theirs:
        with refused(f"The role {reader} may not read public.chunks, without which it cannot search.", "next sweep"):
            search(theirs)
        connection.execute(f"grant select on documents to {reader}")
        connection.execute("select pgembedd.tick(0, 0)")
        assert len(search(theirs, k=1000)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_policies_hold(
    roles: Roles, database: Database, connection: psycopg.Connection, options: dict[str, str]
) -> None:
    reader = roles.make("reader")
    make_source(connection, 60, **options)
    connection.execute(f"alter table documents enable row level security; grant select on documents to {reader}")
    connection.execute("create policy mine on documents using (id % 3 = 0 and current_user like 'reader%')")
    connection.execute("select pgembedd.tick(0, 0)")
    connection.execute("select pgembedd.grant_search(%s)", [reader])
    with connect_as(database, reader) as theirs:
        assert {hit.key for hit in search(theirs, k=1000)} == set(range(3, 61, 3))
        assert {hit.key for hit in search(theirs, k=1000, filter={"id": {"$lt": 10}})} == {3, 6, 9}
        assert set(column(theirs, TYPED, QUERY)) <= set(range(3, 61, 3))
        assert value(theirs, "select pgembedd.explain_search('documents', null, embedding => %s)", QUERY)[
            "row_security"
        ]


def test_words_that_have_no_policy_yet_are_not_searched_in_silence(
    roles: Roles, connection: psycopg.Connection
) -> None:
    reader = roles.make("reader")
    make_texts(connection)
    connection.execute(f"select pgembedd.grant_search('{reader}'); grant select on documents to {reader}")
    call(connection, "sweep")
    connection.execute("alter table documents enable row level security; create policy few on documents using (id < 3)")
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute(f"set role {reader}")
    late = 'The words of "documents" have not got the row level security of public.documents yet'
    with refused(f"{late}.", "next sweep"):
        search(connection, query="invoice", mode="text")
    found = search(connection, query='invoice "no such phrase"', mode="hybrid")
    assert [(hit.key in (1, 2), hit.text_rank) for hit in found] == 2 * [(True, None)]
    assert notices == [f"{late}, so only the meaning is searched."]
    connection.execute("reset role")
    call(connection, "sweep")
    connection.execute(f"set role {reader}")
    assert [hit.key for hit in search(connection, query="invoice", mode="text")] == [2]


def test_what_others_put_into_the_path_is_not_called(
    roles: Roles, database: Database, connection: psycopg.Connection, reader: str
) -> None:
    connection.execute(f"grant select on documents to {reader}; grant create on schema public to {reader}")
    evil = roles.make("evil")
    connection.execute(f"grant create on schema public to {evil}")
    with connect_as(database, evil) as theirs:
        theirs.execute(
            """
            create function public.format(text, text) returns text language plpgsql as $$
            begin raise exception 'caught'; end $$;
            create function public.unnest(jsonb[]) returns setof jsonb language plpgsql as $$
            begin raise exception 'caught'; end $$;
            create function public.caught(integer, integer) returns boolean language plpgsql as $$
            begin raise exception 'caught'; end $$;
            create operator public.= (leftarg = integer, rightarg = integer, procedure = public.caught);
            create operator public.< (leftarg = integer, rightarg = integer, procedure = public.caught);
            create function public.embed(text) returns vector language plpgsql as $$
            begin raise exception 'caught'; end $$;
            create domain public.jsonb as text; create domain public.text as int; create domain public.int4 as text
            """
        )
    connection.execute("set search_path to public, pg_catalog")
    found = search(connection, k=5, filter={"id": {"$lt": 15}, "share": {"$in": list(range(1024))}})
    assert len(found) == 5
    assert (
        len(rows(connection, "select pgembedd.explain_search('documents', null, embedding => %s::vector)", QUERY)) == 1
    )


@pytest.mark.slow
def test_a_new_version_grants_its_functions_again(
    roles: Roles, database: Database, connection: psycopg.Connection, reader: str
) -> None:
    connection.execute(f"grant select on documents to {reader}")
    connection.execute(f"revoke execute on function pgembedd_internal._search_shown from {reader}")  # as a new function
    migrate(database.conninfo)
    with connect_as(database, reader) as theirs:
        assert len(search(theirs)) == 10


def test_a_schema_that_is_closed_to_the_caller_is_named(reader: str, connection: psycopg.Connection) -> None:
    connection.execute("create schema closed; alter table documents set schema closed")
    connection.execute(f"select pgembedd.sweep(); grant select on closed.documents to {reader}; set role {reader}")
    with refused(f"The role {reader} may not use the schema closed, without which it cannot search.", "GRANT USAGE"):
        search(connection)
    assert column(connection, "select pipeline from pgembedd.search_pipelines()") == []


def test_a_reader_has_all_that_a_search_needs(reader: str, connection: psycopg.Connection) -> None:
    """Functions that only some searches call, too."""
    connection.execute(f"grant select on documents to {reader}; alter table documents add tags text[]")
    connection.execute("select pgembedd.sweep()")
    words = " ".join(f"word{n}" for n in range(50))
    connection.execute(f"set role {reader}")
    for query, filter in [(words, None), ("text", {"tags": {"$contains": "x"}}), ("text", {"tags": {"$ne": ["x"]}})]:
        search(connection, query=query, mode="hybrid", filter=filter)
