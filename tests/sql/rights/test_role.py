"""The role `pgembedd`: what belongs to it, what it may, and what code gains that runs with its rights.

Where the guards of docs/decisions/0010 are taken away, names of ours are looked up in the owner's schema: that code
runs as the role then, and wins nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from tests.sql.rights.test_planted_path import PLANT, PLANTED, SHADOWS, SPOILS
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import BACKFILL, claim, connected, create_pipeline, look_twice, make_documents, rows, store

INSTALLERS = {
    "embed",
    "_follow_as_installer",
    "_remake_mended",
    "_attach_triggers",
    "_open_queues",
    "_mirror_all_rights",
    "_schedule_index",
    "_unschedule_indexes",
    "_is_being_built",
    "_read_push_answers",
}
"""The SECURITY DEFINER functions that need more rights: none of them may run code of a table's owner."""


def test_what_runs_with_other_rights_belongs_to_the_role(connection: psycopg.Connection) -> None:
    reasons = dict(rows(connection, "select * from pgembedd_internal._functions_of_installer()"))
    assert set(reasons) == INSTALLERS
    assert all(reasons.values())
    owners = rows(
        connection,
        """select proname, proowner::regrole::text from pg_proc
           where prosecdef and pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)""",
    )
    assert len(owners) > 30
    assert {name for name, owner in owners if owner != "pgembedd"} == INSTALLERS


def test_so_do_the_triggers_on_users_tables(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks", enable_always=True)
    owners = rows(
        connection,
        """select distinct f.proname, f.proowner::regrole::text from pg_trigger g join pg_proc f on f.oid = g.tgfoid
           where f.pronamespace = 'pgembedd_code'::regnamespace order by 1""",
    )
    assert owners == [
        ("pipeline_1_on_delete", "postgres"),  # as the owner of the table
        ("pipeline_1_on_insert", "pgembedd"),
        ("pipeline_1_on_row", "pgembedd"),
        ("pipeline_1_on_truncate", "postgres"),
        ("pipeline_1_on_update", "pgembedd"),
    ]


def test_the_role_has_no_attributes_and_is_a_member_of_nothing(connection: psycopg.Connection) -> None:
    attributes = "rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls"
    assert rows(connection, f"select {attributes} from pg_roles where rolname = 'pgembedd'") == [(False,)]
    assert rows(connection, "select from pg_auth_members where member = 'pgembedd'::regrole") == []


FORBIDDEN = (
    "select * from pg_authid",
    "select * from documents",
    "update documents set title = 'x'",
    "alter role {other} superuser",
    "select pgembedd_code.pipeline_1_as_owner('select 1')",
    "update pgembedd_internal.pipeline set content_function = 'evil'",
    "update pgembedd_internal.pipeline set source = 'pg_class'",
    "update pgembedd_internal.installation set secret = gen_random_uuid()",
    "select * from pgembedd_internal.loopback",
    "select * from pgembedd_internal.push",
    "select * from pgembedd_internal.imported_trigger",
    "create function pgembedd.evil() returns void language sql as 'select 1'",
    "create function pgembedd_code.evil() returns void language sql as 'select 1'",
    "create or replace function pgembedd_code.pipeline_1_on_insert() returns trigger language plpgsql as 'begin end'",
)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_what_the_role_may_not(roles: Roles, connection: psycopg.Connection, statement: str) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("set role pgembedd")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.format(other=roles.make("other")).encode())


# The guards: what is looked up next is the owner's, for as long as the statement lasts.
WITHOUT_GUARDS = """
    create or replace function pgembedd_internal._check_session() returns void language plpgsql as 'begin end';
    create or replace function pgembedd_internal._check_path(expected text) returns void language plpgsql
        as 'begin end';
    create or replace function pgembedd_internal._query_and_undo(query text, argument text default null) returns jsonb
    language plpgsql set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp as $$
    declare answer jsonb; begin execute query into answer using argument; return answer; end $$;
"""
TELLING = """
    create or replace function planted.trap() returns void language plpgsql as $$
    begin
        raise notice 'trapped as %', current_user;
    end $$
"""
STATEMENTS = (
    "select pgembedd.tick(0, 0)",
    "select pgembedd.sweep()",
    "select pgembedd.retention()",
    "select count(*) from pgembedd.status o where o.coverage > 0",
    "update documents set id = 40 where id = 1",  # by a superuser, too
)


@pytest.mark.slow
def test_code_below_what_is_the_roles_has_the_roles_rights(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    owner = roles.make("owner")
    connection.execute(f"grant create on schema public to {owner}")
    connection.execute(f"grant create on database {database.name} to {owner}")
    with connect_as(database, owner) as theirs:
        make_documents(theirs, 3)
        theirs.execute("create schema planted; grant usage on schema planted to public")
        theirs.execute(SHADOWS.format(owner=owner).encode())
        theirs.execute(TELLING)
        for ours in ("row_state", "fetched_file"):
            theirs.execute(f"create table planted.{ours} (pipeline_id integer, key jsonb)".encode())
            theirs.execute(
                f"insert into planted.{ours} values (1, '1'); grant select on planted.{ours} to public".encode()
            )
    create_pipeline(connection, embedding_table="chunks")
    create_pipeline(connection, pipeline="column")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    jobs = claim(connection, BACKFILL, pipeline=1) + claim(connection, BACKFILL, pipeline=2)
    store(connection, jobs[:2])
    with connect_as(database, owner) as theirs:
        for spoil in ("null", SPOILS["path"]):  # an index is not built with what sets the path
            theirs.execute(PLANT.format(spoil=spoil, in_content=False).encode())
            if spoil == "null":
                theirs.execute(PLANTED["index"].encode())
                theirs.execute(PLANTED["trigger"].encode())
                theirs.execute("""create trigger spoil before insert or delete on chunks for each row
                                  execute function planted.on_row()""")
    connection.execute("insert into pgembedd_internal.row_state (pipeline_id, key, state) values (1, '1', 'blank')")
    connection.execute(WITHOUT_GUARDS)
    for job in (jobs[2], jobs[3]):
        assert trapped(database, partial(store, jobs=[job])) == {owner, "pgembedd"}
    for statement in STATEMENTS:
        # What a statement before this one set: upkeep's pause, and the stop after two sweeps that failed.
        connection.execute("update pgembedd_internal.pipeline set upkeep_after = null, state = 'running'")
        if statement.startswith("update"):  # of which the writer's own trigger and index run as the writer
            connection.execute("drop trigger spoil on documents; drop index spoil")
        assert trapped(database, partial(run, statement)) == {owner, "pgembedd"}, statement


def run(statement: str, session: psycopg.Connection) -> None:
    session.execute(statement.encode())


def trapped(database: Database, action: Callable[[psycopg.Connection], object]) -> set[str]:
    """As whom what is planted ran below this, in a superuser's session."""
    told: list[str] = []
    with connected(database) as session:
        session.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        with contextlib.suppress(psycopg.Error, KeyError):  # of an answer that a shadow gave
            action(session)
    return {line.removeprefix("trapped as ") for line in told if line.startswith("trapped as ")}


@pytest.mark.parametrize("again", [False, True])
def test_a_table_that_is_gone_is_told_from_a_schema_of_others(connection: psycopg.Connection, again: bool) -> None:
    connection.execute("create schema apart; create table apart.documents (id bigint primary key, content text)")
    create_pipeline(connection, source="apart.documents", content_columns=["content"])
    connection.execute("drop table apart.documents")
    if again:
        connection.execute("create table apart.documents (id bigint primary key, content text)")
    look_twice(connection)
    ((state, reason),) = rows(connection, "select state, reason from pgembedd.status")
    assert state == "stopped"
    assert "was dropped" in reason
    assert ("new table of that name" in reason) == again
