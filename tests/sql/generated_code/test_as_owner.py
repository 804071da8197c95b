"""Tables of other roles, with row level security: what runs for a pipeline runs as the table's owner."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    claim_one,
    column,
    connected,
    create_pipeline,
    look_twice,
    make_documents,
    owned_table,
    qualified,
    queued,
    read,
    rows,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.mark.parametrize("force", [False, True])
def test_an_application_needs_no_right_but_on_its_table(
    roles: Roles, database: Database, connection: psycopg.Connection, force: bool
) -> None:
    owner, application = roles.make("owner", "bypassrls" if force else ""), roles.make("application")
    owned_table(connection, owner)
    connection.execute(f"""
        alter table documents add author text default current_user, enable row level security;
        grant insert, update, select on documents to {application};
        create policy mine on documents to {application} using (author = current_user and id < 100)
    """)
    if force:
        connection.execute("alter table documents force row level security")
    create_pipeline(connection)
    with connect_as(database, application) as app:
        app.execute("insert into documents (id, title) values (1, 'one'), (2, 'two')")
        app.execute("update documents set title = 'zwei' where id = 2")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("select * from pgmq.q_pgembedd_fresh")
    connection.execute("insert into documents (id, title, author) values (3, 'three', 'somebody')")
    assert queued(connection) == [1, 2, 2, 3]
    assert work(connection) == {1: "written", 2: "written", 3: "written"}
    connection.execute("update documents set embedding = null")
    connection.execute("delete from pgmq.q_pgembedd_fresh")
    assert value(connection, "select pgembedd.sweep()") == 3


def test_forced_row_security_that_binds_the_owner_is_refused(roles: Roles, connection: psycopg.Connection) -> None:
    """No role with more rights may replace the owner, whose function and triggers would then run with them."""
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute("alter table documents enable row level security, force row level security")
    sentence = (
        f"Row level security is forced on public.documents, so that {owner}, who owns it, would not see every row. "
        f"Have an administrator run ALTER ROLE {owner} BYPASSRLS, "
        "or ALTER TABLE public.documents NO FORCE ROW LEVEL SECURITY."
    )
    with refused(sentence):
        create_pipeline(connection)
    connection.execute("alter table documents no force row level security")
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'x')")
    connection.execute("alter table documents force row level security")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):  # an error, not a silent "gone"
        work(connection)
    assert look_twice(connection, "diagnose(1)") == sentence
    assert queued(connection) == [1]


def test_whoever_cannot_see_all_rows_gets_an_error_and_not_a_part(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    owner, member = roles.make("owner", "bypassrls"), roles.make("member")
    owned_table(connection, owner)
    connection.execute("alter table documents enable row level security, force row level security")
    create_pipeline(connection)
    connection.execute(f"""
        insert into documents values (1, 'x'); delete from pgmq.q_pgembedd_fresh;
        grant {owner} to {member};
        grant usage on schema pgembedd, pgembedd_internal, pgmq to {member};
        grant execute on all functions in schema pgembedd, pgembedd_internal to {member};
        grant all on all tables in schema pgembedd, pgembedd_internal, pgmq to {member};
    """)
    with connect_as(database, member) as theirs:
        assert rows(theirs, "select * from documents") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            theirs.execute("select pgembedd.backfill('documents')")
        assert value(theirs, "select pgembedd.sweep()") == 1  # runs as who installed it


WHOAMI = """
    create table seen (who text, at text);
    create function embedding_input(d documents) returns text language plpgsql as $$
    begin insert into seen values (current_user, 'content'); return d.title; end $$;
    create function look() returns trigger language plpgsql as $$
    begin insert into seen values (current_user, tg_when); return new; end $$;
    create trigger before_ before update on documents for each row execute function look();
    create trigger after_ after update on documents for each row execute function look();
"""


def test_what_is_the_owners_runs_as_the_owner(roles: Roles, connection: psycopg.Connection) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute(f"set role {owner}")
    connection.execute(WHOAMI)
    connection.execute("reset role")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("insert into documents values (1, 'x')")
    assert work(connection) == {1: "written"}
    assert set(rows(connection, "select * from seen")) == {(owner, "content"), (owner, "BEFORE"), (owner, "AFTER")}
    assert rows(
        connection,
        "select proname, proowner::regrole::text from pg_proc where proname like 'pipeline\\_1%' order by 1",
    ) == [
        ("pipeline_1_as_owner", owner),
        ("pipeline_1_gone", owner),
        ("pipeline_1_named", owner),
        ("pipeline_1_on_insert", "pgembedd"),
        ("pipeline_1_on_update", "pgembedd"),
        ("pipeline_1_read", owner),
        ("pipeline_1_words", owner),
        ("pipeline_1_write", owner),
    ]
    for privilege in ("create", "usage"):
        assert value(connection, f"select has_schema_privilege('{owner}', 'pgembedd_code', '{privilege}')") is False
    for function in ("read(jsonb[])", "write(jsonb[],bytea[],vector[])"):
        assert (
            value(
                connection, f"select has_function_privilege('public', 'pgembedd_code.pipeline_1_{function}', 'execute')"
            )
            is False
        )


@pytest.mark.parametrize(
    "trick", ["set role postgres", "reset role", "set session authorization postgres", "alter role {owner} superuser"]
)
def test_a_malicious_content_function_gets_no_further(roles: Roles, connection: psycopg.Connection, trick: str) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute(f"set role {owner}")
    connection.execute(f"""
        create function embedding_input(d documents) returns text language plpgsql as $$
        begin execute '{trick.format(owner=owner)}'; return current_user; end $$
    """)
    connection.execute("reset role")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("insert into documents values (1, 'x')")
    with pytest.raises(psycopg.Error) as caught:
        work(connection)
    assert caught.value.sqlstate in ("42501", "22023", "0A000", "42P13")


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_what_a_content_function_does_is_undone_with_the_read(
    connection: psycopg.Connection, options: dict[str, str]
) -> None:
    make_documents(connection)
    connection.execute("""
        create table said (path text);
        create function telling(d documents) returns text language plpgsql as $$
        begin
            insert into said values (set_config('search_path', 'elsewhere', false));
            perform set_config('default_transaction_read_only', 'on', false);
            return d.title;
        end $$""")
    create_pipeline(connection, content_function="telling", **options)
    connection.execute("insert into documents values (1, 'title')")
    before = value(connection, "show search_path")
    (content,) = read(connection, [claim_one(connection)])
    assert content.text == "title"
    assert rows(connection, "select * from said") == []
    assert value(connection, "show search_path") == before
    assert value(connection, "show default_transaction_read_only") == "off"


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_a_path_that_a_trigger_sets_brings_nothing_of_the_owners_into_the_store(
    roles: Roles, database: Database, connection: psycopg.Connection, options: dict[str, str]
) -> None:
    """Not even a function that puts the path back, so that the check at the end finds nothing."""
    owner = roles.make("owner")
    owned_table(connection, owner)
    create_pipeline(connection, **options)
    connection.execute(f"create schema planted authorization {owner}")
    with connect_as(database, owner) as theirs:
        theirs.execute("""
            grant usage on schema planted to public;
            create table planted.seen (who text);
            grant insert on planted.seen to public;
            create function planted._store_words(pipeline_id integer, keys jsonb[], outcomes text[]) returns void
            language plpgsql as $$
            begin
                insert into planted.seen values (current_user);
                perform pg_catalog.set_config('search_path', 'pg_catalog, pgembedd_internal, pgembedd, pg_temp', false);
            end $$;
            create function planted.spoil() returns trigger language plpgsql as $$
            begin
                perform pg_catalog.set_config(
                    'search_path', 'planted, pg_catalog, pgembedd_internal, pgembedd, pg_temp', false);
                return new;
            end $$""")
        table = options.get("embedding_table", "documents")
        theirs.execute(
            f"create trigger spoil before insert or update on {table} for each row execute function planted.spoil()"
        )
        theirs.execute("insert into documents values (1, 'one')")
        with contextlib.suppress(psycopg.Error):
            work(connection)
        assert column(theirs, "select who from planted.seen") == []


def test_a_path_that_is_set_while_a_statement_is_planned_brings_nothing_of_the_owners_into_the_sweep(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """The predicate of an index runs when a statement is planned, as the one that looks for rows without words.

    An error undoes what its functions did, but not that a sequence was counted.
    """
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute(f"create schema planted authorization {owner}")
    with connect_as(database, owner) as theirs:
        theirs.execute("""
            grant usage on schema planted to public;
            create sequence planted.calls;
            grant usage on planted.calls to public;
            create function planted.differ(jsonb[], jsonb[]) returns boolean language plpgsql as $$
            begin
                perform pg_catalog.nextval('planted.calls');
                perform pg_catalog.set_config('search_path', 'pg_catalog, pgembedd_internal, pgembedd, pg_temp', false);
                return true;
            end $$;
            create operator planted.<> (leftarg = jsonb[], rightarg = jsonb[], function = planted.differ);
            create function planted.spoiling(integer) returns boolean immutable language plpgsql as $$
            begin return true; end $$;
            insert into documents values (1, 'one');
            create index spoil on documents (id) where planted.spoiling(1)""")
        create_pipeline(connection, index_type="hnsw")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        work(connection)
        connection.execute("delete from documents_words")
        theirs.execute("""
            create or replace function planted.spoiling(integer) returns boolean immutable language plpgsql as $$
            begin
                perform pg_catalog.set_config(
                    'search_path', 'planted, pg_catalog, pgembedd_internal, pgembedd, pg_temp', false);
                return true;
            end $$""")
        with connected(database) as session, contextlib.suppress(psycopg.Error):  # which has not seen the index yet
            session.execute("select pgembedd_internal._fill_words(p, 10) from pgembedd_internal.pipeline p")
        assert value(theirs, "select is_called from planted.calls") is False


def test_a_new_owner_takes_over_after_resume(roles: Roles, connection: psycopg.Connection) -> None:
    first, second = roles.make("first"), roles.make("second")
    owned_table(connection, first)
    create_pipeline(connection)
    connection.execute(f"alter table documents owner to {second}")
    connection.execute("select pgembedd.pause('documents'), pgembedd.resume('documents')")
    assert set(
        column(
            connection,
            "select proowner::regrole::text from pg_proc where proname in ('pipeline_1_read', 'pipeline_1_write')",
        )
    ) == {second}


def test_another_role_cannot_register_a_table_that_is_not_its_own(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """Even with all rights on our schema, the functions that run as the owner are not to be had."""
    owner, stranger = roles.make("owner"), roles.make("stranger")
    owned_table(connection, owner)
    connection.execute(f"""
        grant usage on schema pgembedd, pgembedd_internal, pgmq to {stranger};
        grant execute on all functions in schema pgembedd, pgembedd_internal to {stranger};
        grant all on all tables in schema pgembedd, pgembedd_internal, pgmq to {stranger};
    """)
    with (
        connect_as(database, stranger) as theirs,
        refused(
            f"public.documents belongs to {owner}, and {stranger} may not act for that role.",
            f"Run this as {owner} or as a superuser, or GRANT {owner} TO {stranger}.",
        ),
    ):
        create_pipeline(theirs)


def test_a_table_that_takes_the_place_of_ours_runs_nothing_as_the_owner(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """Another role makes one where a table was dropped or renamed, with a trigger or a view that the owner may use."""
    owner, planter = roles.make("owner"), roles.make("planter")
    owned_table(connection, owner)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute(f"create schema planted authorization {planter}; grant create on schema public to {planter}")
    with connect_as(database, planter) as theirs, connect_as(database, owner) as own:
        theirs.execute(f"grant usage on schema planted to {owner}; create table planted.seen (who text)")
        theirs.execute(f"""
            grant insert on planted.seen to {owner};
            create function planted.trap() returns integer language plpgsql as $$
            begin insert into planted.seen values (current_user); return 1; end $$;
            create function planted.on_statement() returns trigger language plpgsql as $$
            begin perform planted.trap(); return null; end $$""")
        own.execute("insert into documents values (1, 'one'), (2, 'two'), (3, 'three')")
        own.execute("drop table chunks cascade")
        theirs.execute(f"""
            create table chunks (id int, chunk_index int);
            create trigger trap before delete or truncate on chunks execute function planted.on_statement();
            grant all on chunks to {owner}""")
        own.execute("delete from documents where id = 1; update documents set id = 9 where id = 2")
        own.execute("truncate documents")
        own.execute("alter table documents rename to moved")
        theirs.execute(f"create view documents as select planted.trap() as id; grant all on documents to {owner}")
        own.execute("truncate moved")
        for call in (
            "read_chunks(1, array['1'::jsonb])",
            "_coverage(p, 0) from pgembedd_internal.pipeline p",
            "retention()",
        ):
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                connection.execute(f"select {qualified(call)}")
        assert column(theirs, "select who from planted.seen") == []
