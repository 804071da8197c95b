"""The second connection of embed(): kept by the session, its rights, and how it is set up. Workers are simulated."""

from __future__ import annotations

import re

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from tests.support.databases import Database
from tests.support.embed_requests import VECTOR, Hand, ask_once, asking, kept, make_pipeline
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import PASSWORD, Roles, connect_as
from tests.support.sql import column, end_sessions, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def asker(connection: psycopg.Connection) -> None:
    """A connection to a database with one pipeline, of three dimensions."""
    make_pipeline(connection)


def lines(connection: psycopg.Connection) -> list[int]:
    """The processes behind the callers' second connections."""
    where = "application_name = 'pgembedd embed' and datname = current_database()"
    return [int(pid) for pid in column(connection, f"select pid from pg_stat_activity where {where} order by pid")]


def test_a_session_keeps_its_connection(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    (first,) = lines(asker)
    ask_once(asker, hand, "two")
    assert lines(asker) == [first]


def test_a_connection_that_the_server_closed_is_opened_again(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    (first,) = lines(asker)
    assert end_sessions(asker, f"pid = {first}") == 1
    ask_once(asker, hand, "two")
    assert kept(asker) == 0
    (second,) = lines(asker)
    assert second != first


def test_the_next_question_goes_as_whom_it_is_told(asker: psycopg.Connection, hand: Hand) -> None:
    ask_once(asker, hand, "one")
    asker.execute("select pgembedd.embed_through()")
    asker.execute("update pgembedd_internal.loopback set password = 'wrong'")
    with pytest.raises(psycopg.Error, match=r"cannot connect to its own database as .*password"):
        asker.execute("select pgembedd.embed('two')")


def test_where_every_role_may_call_dblink_no_connection_is_kept(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("create schema open; grant usage on schema open to public; alter extension dblink set schema open")
    ask_once(asker, hand, "one")
    assert value(asker, "select open.dblink_get_connections()") is None


def test_no_more_than_a_few_are_kept(asker: psycopg.Connection, hand: Hand) -> None:
    assert value(asker, "select pgembedd_internal._most_kept()") == 16
    asker.execute(
        "create or replace function pgembedd_internal._most_kept() returns integer language sql immutable"
        " set search_path = pg_catalog, pg_temp as 'select 0'"
    )
    ask_once(asker, hand, "one")
    assert value(asker, "select pgembedd_code.dblink_get_connections()") is None


# -- Rights --------------------------------------------------------------------------------------------------


def test_who_may_call_it_is_a_grant(roles: Roles, database: Database, asker: psycopg.Connection, hand: Hand) -> None:
    reader = roles.make("reader")
    with connect_as(database, reader) as theirs:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute("select pgembedd.embed('hello')")
        asker.execute("select pgembedd.grant_embed(%s)", [reader])
        with asking(theirs) as one:
            hand.answer(hand.take_one())
        assert one.answer == VECTOR
        for forbidden in (
            "select * from pgembedd_internal.embed_request",
            "select * from pgembedd_internal.loopback",
            "select pgembedd_internal._connect('mine')",
            "select pgembedd_internal._post_embed_request(gen_random_uuid(), 'm', null, 'query', 'x', '1 s')",
            "select pgembedd_internal.take_embed_requests(8, 0, false)",
            "select pgembedd_code.dblink_get_connections()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute(forbidden.encode())


def test_a_restore_that_lost_the_rights_on_the_schema_is_mended(
    roles: Roles, database: Database, asker: psycopg.Connection, hand: Hand
) -> None:
    app = roles.make("app")
    asker.execute("select pgembedd.grant_embed(%s)", [app])
    asker.execute(
        f"revoke all on schema pgembedd, pgembedd_internal from {app}".encode()
    )  # as after errors of pg_restore's
    migrate(database.conninfo)
    with connect_as(database, app) as caller, asking(caller) as one:
        hand.answer(hand.take_one())
    assert (one.error, one.answer) == (None, VECTOR)


def test_the_second_connection_may_ask_and_nothing_else(database: Database, asker: psycopg.Connection) -> None:
    name, password = rows(asker, "select username, password from pgembedd_internal.loopback")[0]
    conninfo = psycopg.conninfo.make_conninfo(database.conninfo, user=name, password=password)
    with psycopg.connect(conninfo, autocommit=True) as theirs:
        may = """
            select p.proname from pg_proc p
            where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
                and has_function_privilege(p.oid, 'execute')
        """
        assert set(column(theirs, may)) == {"_post_embed_request", "_await_vector", "_forget_embed_request"}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute("select * from pgembedd_internal.embed_request")
        attributes = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolinherit"
        assert rows(theirs, f"select {attributes} from pg_roles where rolname = current_user") == [(False,) * 6]


def test_the_password_is_checked(database: Database, asker: psycopg.Connection) -> None:
    name = value(asker, "select username from pgembedd_internal.loopback")
    conninfo = psycopg.conninfo.make_conninfo(database.conninfo, user=name, password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo)


# -- Setting up ----------------------------------------------------------------------------------------------


def test_a_role_of_ones_own_is_taken(roles: Roles, asker: psycopg.Connection, hand: Hand) -> None:
    role = roles.make("asker")
    asker.execute("select pgembedd.embed_through(username => %s, password => %s)", [role, PASSWORD])
    assert value(asker, "select pgembedd_internal._embed_problem()") is None
    with asking(asker) as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR


def test_a_wrong_password_is_a_sentence_without_it(roles: Roles, asker: psycopg.Connection, hand: Hand) -> None:
    role = roles.make("asker")
    asker.execute("select pgembedd.embed_through(username => %s, password => %s)", [role, "it's \\ wrong"])
    with pytest.raises(psycopg.Error) as caught:
        asker.execute("select pgembedd.embed('hello')")
    assert re.match(f"pgembedd.embed\\(\\) cannot connect to its own database as {role}: .*password", str(caught.value))
    assert "wrong" not in str(caught.value)
    assert "password authentication failed" in value(asker, "select pgembedd_internal._embed_problem()")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("port => 0", "0 is no port."),
        ("password => 'x'", "A password was given without a username."),
        ("username => 'nobody there'", 'There is no role "nobody there".'),
    ],
)
def test_what_is_no_address_is_refused(asker: psycopg.Connection, arguments: str, message: str) -> None:
    with refused(message):
        asker.execute(f"select pgembedd.embed_through({arguments})")


def test_not_set_up_says_what_to_do(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute("delete from pgembedd_internal.loopback")
    with refused("pgembedd.embed() is not set up in this database.", "select pgembedd.embed_through();"):
        asker.execute("select pgembedd.embed('hello')")
    asker.execute("drop extension dblink")
    with refused("pgembedd.embed() is not set up in this database.", "create extension dblink"):
        asker.execute("select pgembedd.embed('hello')")


def test_dblink_may_live_in_any_schema(asker: psycopg.Connection, hand: Hand) -> None:
    asker.execute('create schema "Odd place"; alter extension dblink set schema "Odd place"')
    with asking(asker) as one:
        hand.answer(hand.take_one())
    assert one.answer == VECTOR
