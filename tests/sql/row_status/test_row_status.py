"""row_status(): what an application is told of the rows that it may read."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    claim,
    connected,
    create_pipeline,
    fail,
    let_leases_run_out,
    make_documents,
    owned_table,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

ALL = "select key, status, reason, attempts from pgembedd.row_status('documents', %s::jsonb[])"
KEYS = [str(key) for key in range(1, 8)]
SOURCES = {
    "plain": "create table documents (id int primary key, title text, content text)",
    "partitioned": """create table documents (id int primary key, title text, content text) partition by range (id);
                      create table documents_1 partition of documents for values from (0) to (100)""",
}


def statuses(connection: psycopg.Connection) -> dict[Any, tuple[Any, ...]]:
    """By key: status, reason, attempts."""
    return {key: tuple(rest) for key, *rest in rows(connection, ALL, KEYS)}


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_each_status_and_only_of_rows_that_the_caller_may_read(
    roles: Roles, database: Database, options: dict[str, str]
) -> None:
    reader = roles.make("reader")
    with connected(database) as connection:
        make_documents(connection, 6)
        create_pipeline(connection, max_attempts=1, **options)
        connection.execute(f"grant select on documents to {reader}; select pgembedd.grant_search('{reader}')")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
        connection.execute("alter table documents enable row level security")
        connection.execute("create policy mine on documents using (id <> 6)")
        connection.execute("select pgembedd.tick(0, 0)")
        with connect_as(database, reader) as theirs:
            expected: dict[Any, Any] = dict.fromkeys(range(1, 6), ("queued", None, 0))
            assert statuses(theirs) == expected  # without 6, which is hidden, and 7, which is not there
            work(connection)
            assert statuses(theirs) == dict.fromkeys(range(1, 6), ("embedded", None, 0))

            connection.execute("update documents set title = '', content = '' where id = 1")
            work(connection)
            connection.execute("update documents set content = 'unlucky' where id = 2")
            (job,) = claim(connection)
            fail(connection, job, "write", "a secret of another table", permanent=True)
            connection.execute("update documents set content = 'new' where id in (3, 6)")
            (third, *_) = claim(connection, size=1)
            connection.execute("update documents set content = 'newer' where id in (4, 6)")
            now = statuses(theirs)
            assert now[1] == ("blank", None, 0)
            assert now[2] == ("failed", "write", 1)
            assert now[3] == ("embedding", None, 0)
            assert now[4] == ("queued", None, 0)
            assert now[5] == ("embedded", None, 0)
            assert 6 not in now
            connection.execute("select pgembedd.pause('documents')")
            assert statuses(theirs)[4] == ("queued", "paused", 0)
            connection.execute("select pgembedd.resume('documents')")
            store(connection, [third])
            assert statuses(theirs)[3] == ("embedded", None, 0)

            # The order is the one asked for; a key is what a search returns as key.
            assert [key for key, *_ in rows(theirs, ALL, ["3", "1"])] == [3, 1]
            with refused("keys has 1001 members, and at most 1000 are taken."):
                rows(theirs, ALL, ["1"] * 1001)
            # Who may not read a row cannot name its version, even where its place and transaction were guessed.
            one = value(connection, "select id from pgembedd_internal.pipeline")
            place = "select format('%s %s %s', tableoid::oid, ctid, xmin) from documents where id = 6"
            guess = "select count(*) from pgembedd_internal._row_statuses(%s, '{6}', array[%s])"
            assert value(theirs, guess, one, f"{value(connection, place)} ") == 0
            assert value(theirs, guess, one, value(connection, place)) == 0
            connection.execute(f"revoke select on documents from {reader}; grant select (id) on documents to {reader}")
            missing = f"The role {reader} may not read all columns of public.documents, so it is not told"
            with refused(f"{missing} the status of its rows.", "GRANT SELECT ON public.documents"):
                statuses(theirs)


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [("jsonb", '{"a": "secret"}', "failed"), ("text[]", "{secret}", "failed"), ("date", "2024-01-01", "queued")],
)
def test_the_status_is_told_to_those_who_know_the_content(
    roles: Roles, connection: psycopg.Connection, kind: str, content: str, told: str
) -> None:
    reader = roles.make("reader")
    connection.execute(f"create table documents (id int primary key, content {kind})")
    create_pipeline(connection, content_columns=["content"], max_attempts=1)
    connection.execute(f"select pgembedd.grant_search('{reader}')")
    connection.execute("insert into documents values (1, %s)", [content])
    (job,) = claim(connection)
    fail(connection, job, "write", "an error", permanent=True)
    place = "select format('%s %s %s', tableoid::oid, ctid, xmin) from documents"
    guesses = [
        f"{value(connection, place)} {value(connection, 'select sha256(%s)::text', b'')}",
        value(connection, place),
    ]
    one = value(connection, "select id from pgembedd_internal.pipeline")
    connection.execute(f"set role {reader}")
    guess = "select count(*) from pgembedd_internal._row_statuses(%s, '{1}', array[%s])"
    assert [value(connection, guess, one, version) for version in guesses] == [0, 0]
    connection.execute(f"reset role; grant select on documents to {reader}; set role {reader}")
    assert statuses(connection)[1][0] == told


def test_a_row_that_waits_for_its_next_attempt_or_has_changed_is_queued(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'a'), (2, ' ')")
    first, second = claim(connection)
    fail(connection, first)
    store(connection, [second])
    assert statuses(connection) == {1: ("queued", None, 1), 2: ("blank", None, 0)}
    let_leases_run_out(connection)
    (first,) = claim(connection)
    fail(connection, first, permanent=True)
    assert statuses(connection)[1] == ("failed", "content", 2)
    connection.execute("update documents set title = title || 'b'")
    assert statuses(connection) == dict.fromkeys((1, 2), ("queued", None, 0))


@pytest.mark.parametrize("kind", ["plain", "partitioned"])
def test_the_table_with_the_vectors_is_published(database: Database, kind: str) -> None:
    with connected(database) as connection:
        connection.execute(SOURCES[kind])
        create_pipeline(connection)
        with refused('There is no publication "supabase_realtime".'):
            connection.execute("select pgembedd.publish_vectors('documents')")
        connection.execute("create publication supabase_realtime")
        for _ in range(2):
            assert value(connection, "select pgembedd.publish_vectors('documents')") == "public.documents"
        published = "select prrelid::regclass::text from pg_publication_rel"
        assert rows(connection, published) == [("documents",)]
        for was_there in (True, False):
            assert value(connection, "select pgembedd.unpublish_vectors('documents')") is was_there
        assert rows(connection, published) == []


def test_what_else_is_published_may_be_out_of_the_callers_reach(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    create_pipeline(connection)
    connection.execute(f"""
        create schema hidden; create table hidden.another (id int);
        create publication theirs for table hidden.another;
        grant create on database {database.name} to {owner}; alter publication theirs owner to {owner};
        grant usage on schema pgembedd, pgembedd_internal to {owner};
        grant select on all tables in schema pgembedd_internal to {owner};
        grant execute on all functions in schema pgembedd, pgembedd_internal to {owner};
    """)
    with connect_as(database, owner) as session:
        for _ in range(2):
            assert value(session, "select pgembedd.publish_vectors('documents', 'theirs')") == "public.documents"
