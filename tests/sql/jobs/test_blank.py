"""SQL decides which rows are blank; a blank row has no vector and is not queued until it changes."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.sql import (
    call,
    claim_one,
    connected,
    create_pipeline,
    fail,
    made_up,
    make_documents,
    queued,
    read,
    rows,
    store,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

BLANK = [
    None,
    "",
    " ",
    "\t\n\r\f\v",
    "\u00a0",
    "\u2003",
    "\u3000\u200a",
    "\u2028\u2029",
    "\u1680\u202f\u205f",
    "\ufeff",
    "\u200b",
]
NOT_BLANK = ["a", " . ", "\u00a0x", "é", "😀", "0", "\x01", "文", "\u00ad", "'", "\\s"]
STATES = "select key, state, dropped_tokens from pgembedd_internal.row_state order by key"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_is_blank_in_any_locale(server: EmbeddedPostgres, empty_database: Database, locale: str) -> None:
    name = f"{empty_database.name}_locale"
    with empty_database.connect() as admin:
        admin.execute(f"create database {name} template template0 encoding 'UTF8' locale '{locale}'")
        try:
            migrate(server.conninfo(name))
            with connected(Database(name, server.conninfo(name))) as connection:
                for text in BLANK:
                    assert value(connection, "select pgembedd_internal._blank(%s)", text) is True, ascii(text)
                for text in NOT_BLANK:
                    assert value(connection, "select pgembedd_internal._blank(%s)", text) is False, ascii(text)
        finally:
            admin.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize("text", [None, "", "\u00a0\u2003\t"])
def test_a_blank_row_loses_its_vector_and_is_remembered(connection: psycopg.Connection, text: str | None) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    work(connection)
    connection.execute("update documents set title = %s, content = null", [text])
    job = claim_one(connection)
    (content,) = read(connection, [job])
    assert (content.state, content.text) == ("blank", None)
    assert store(connection, [job], [content]) == ["cleared"]
    assert vectors(connection) == [None]
    assert rows(connection, STATES) == [(1, "blank", None)]
    assert call(connection, "backfill", pipeline="documents") == 0
    assert value(connection, "select pgembedd.sweep()") == 0
    assert value(connection, "select blank from pgembedd.status") == 1


def test_a_row_that_was_blank_from_the_start(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, ' ')")
    assert work(connection) == {1: "unchanged"}
    assert rows(connection, STATES) == [(1, "blank", None)]
    assert value(connection, "select pgembedd.sweep()") == 0


def test_a_change_brings_a_blank_row_back(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, ' ')")
    work(connection)
    connection.execute("update documents set title = 'not blank'")
    assert work(connection) == {1: "written"}
    assert rows(connection, STATES) == []
    assert vectors(connection) == [made_up("not blank")]


def test_a_blank_row_twice(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    for text in (" ", "  "):
        connection.execute(
            "insert into documents values (1, %s) on conflict (id) do update set title = excluded.title", [text]
        )
        work(connection)
    assert rows(connection, STATES) == [(1, "blank", None)]
    assert queued(connection) == []


def test_a_truncated_row_is_remembered_until_it_fits(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, backfill=False)
    for title, dropped, remembered in [
        ("long", 7, [(1, "truncated", 7)]),
        ("longer", 9, [(1, "truncated", 9)]),
        ("short", 0, []),
    ]:
        connection.execute("update documents set title = %s", [title])
        store(connection, [claim_one(connection)], dropped=dropped)
        assert rows(connection, STATES) == remembered
    assert value(connection, "select truncated from pgembedd.status") == 0


def test_a_truncated_row_whose_change_fails_is_dead(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, backfill=False)
    connection.execute("update documents set title = 'long'")
    store(connection, [claim_one(connection)], dropped=7)
    connection.execute("update documents set title = 'bad'")
    fail(connection, claim_one(connection), permanent=True)
    assert rows(connection, STATES) == [(1, "dead", None)]
    assert rows(connection, "select dead, truncated from pgembedd.status") == [(1, 0)]


def test_what_is_noted_of_a_row_stays_until_its_job_is_done(
    connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, ' ')")
    work(connection)
    connection.execute("update documents set title = '  '")
    with other.transaction():
        other.execute("select from documents for update")
        assert store(connection, [claim_one(connection)]) == ["locked"]
    assert rows(connection, STATES) == [(1, "blank", None)]


def test_a_row_that_is_gone_is_forgotten(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, ' ')")
    work(connection)
    connection.execute("update documents set title = 'x'")
    connection.execute("delete from documents")
    work(connection)
    assert rows(connection, STATES) == []


@pytest.mark.slow
def test_a_database_of_its_own_for_each(server: EmbeddedPostgres) -> None:
    """In a database that is not in UTF8 the content is hashed as UTF8 all the same."""
    with fresh_database(server) as maker:
        name = f"{maker.name}_latin"
        with maker.connect() as admin:
            admin.execute(f"create database {name} template template0 encoding 'LATIN1' locale 'C'")
            try:
                migrate(server.conninfo(name))
                with connected(Database(name, server.conninfo(name))) as connection:
                    make_documents(connection)
                    create_pipeline(connection)
                    connection.execute("insert into documents values (1, 'é'), (2, %s)", ["\u00a0"])
                    assert work(connection) == {1: "written", 2: "unchanged"}
                    assert rows(connection, STATES) == [(2, "blank", None)]
            finally:
                admin.execute(f"drop database {name} with (force)")
