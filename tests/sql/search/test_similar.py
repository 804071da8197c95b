"""Rows like a row, searches over several pipelines, and functions for PostgREST."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.sql.search.test_words import make_texts, sample
from tests.support.databases import Database
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.search import make_source
from tests.support.sql import call, column, create_pipeline, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

SIMILAR = "select key from pgembedd.similar('documents', %s, k => %s)"


@pytest.mark.slow
@pytest.mark.parametrize("table", [None, "chunks"])
def test_rows_like_a_row(connection: psycopg.Connection, table: str | None) -> None:
    make_source(connection, 200, embedding_table=table)
    found = column(connection, SIMILAR, "7", 5)
    if table is None:
        assert found == column(
            connection,
            "select id from documents where id <> 7 order by (embedding <=> (select embedding from documents"
            " where id = 7)) + 0 limit 5",
        )
    assert len(found) == len(set(found)) == 5
    assert 7 not in found
    assert len(column(connection, SIMILAR, "7", 1000)) == 199


def test_rows_like_a_row_with_a_filter(connection: psycopg.Connection) -> None:
    make_source(connection, 200)
    found = column(
        connection, "select key from pgembedd.similar('documents', '7', filter => '{\"id\": {\"$lte\": 9}}')"
    )
    assert set(found) == {1, 2, 3, 4, 5, 6, 8, 9}


def test_a_key_that_no_row_has_is_refused(connection: psycopg.Connection) -> None:
    make_source(connection, 20)
    with refused('No row of "documents" has the key 999 and a vector.', "A row is named by its key, id (integer)."):
        column(connection, SIMILAR, "999", 5)


def test_the_row_of_a_key(connection: psycopg.Connection) -> None:
    make_source(connection, 20)
    assert value(connection, "select pgembedd.search_row('documents', '7')")["title"] == "title 7"
    assert value(connection, "select pgembedd.search_row('documents', '999')") is None


def test_rows_like_a_row_of_a_composite_key(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (a int, b text, title text, content text, primary key (a, b))")
    create_pipeline(connection)
    connection.execute("insert into documents select i, 'x', 'title ' || i from generate_series(1, 3) i")
    work(connection)
    found = column(connection, SIMILAR, '{"a": 1, "b": "x"}', 5)
    assert sorted(key["a"] for key in found) == [2, 3]


def test_rows_like_a_row_that_is_hidden(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    name = roles.make("reader")
    make_source(connection, 20)
    connection.execute("select pgembedd.grant_search(%s)", [name])
    connection.execute("create policy few on documents using (id <= 10)")
    connection.execute(f"alter table documents enable row level security; grant select on documents to {name}")
    with connect_as(database, name) as asking:
        assert sorted([*column(asking, SIMILAR, "7", 100), 7]) == list(range(1, 11))
        with refused('No row of "documents" has the key 17 and a vector.'):
            column(asking, SIMILAR, "17", 5)


@pytest.fixture
def two(connection: psycopg.Connection) -> psycopg.Connection:
    """`documents` and `tickets`, four texts each."""
    make_texts(connection)
    connection.execute("create table tickets (no text primary key, content text)")
    create_pipeline(
        connection, pipeline="tickets", source="tickets", content_columns=["content"], text_config="english"
    )
    connection.execute("insert into tickets values ('a', 'my invoice is wrong'), ('b', 'the card does not work')")
    work(connection)
    sample(connection)
    return connection


def many(connection: psycopg.Connection, pipelines: list[str], query: str, mode: str = "text") -> list[Any]:
    return rows(
        connection,
        "select pipeline, key, text_rank from pgembedd.search_many(%s, %s, mode => %s)",
        pipelines,
        query,
        mode,
    )


def test_one_search_over_two_tables(two: psycopg.Connection) -> None:
    assert sorted(many(two, ["documents", "tickets"], "invoice"), key=str) == [
        ("documents", 2, 1),
        ("tickets", "a", 1),
    ]
    ranks = [row[2] for row in many(two, ["tickets", "documents"], "card invoice")]
    assert ranks == sorted(ranks)
    assert len(ranks) == 4
    for wrong in ([], ["documents", "documents"], ["x"] * 21):
        with pytest.raises(psycopg.Error, match=r"cannot be searched at once|at most 20 are taken"):
            many(two, wrong, "card")
    with refused('There is no pipeline "nothing".'):
        many(two, ["documents", "nothing"], "card")
    with refused("The query is empty."):
        many(two, ["documents"], "")
    for k in (0, -1, 1001):
        with refused(f"k {k} is out of range."):
            call(two, "search_many", pipelines=["documents"], query="card", k=k, mode="text")


def test_functions_for_postgrest(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    name = roles.make("web")
    make_texts(connection)
    connection.execute("create schema api")
    call(connection, "expose_search", schema="api")
    call(connection, "expose_search", schema="api")
    connection.execute(f"grant usage on schema api to {name}; grant select on documents to {name}")
    call(connection, "sweep")
    with connect_as(database, name) as asking:
        for statement in ("search('documents', 'x')", "similar('documents', '1')", "search_many('{documents}', 'x')"):
            with refused(f"The role {name} may not search.", f"call pgembedd.grant_search('{name}')"):
                asking.execute(f"select * from api.{statement}".encode())
            connection.execute(f"grant usage on schema pgembedd, pgembedd_internal to {name}")
        connection.execute(f"revoke usage on schema pgembedd, pgembedd_internal from {name}")
        connection.execute("select pgembedd.grant_search(%s)", [name])
        assert column(
            asking, "select key from api.search(pipeline => 'documents', query => 'invoice', mode => 'text')"
        ) == [2]
        assert len(column(asking, "select key from api.similar('documents', '2')")) == 3
        assert column(asking, "select key from api.search_many('{documents}', 'invoice', mode => 'text')") == [2]
    with refused("There is no schema nowhere."):
        call(connection, "expose_search", schema="nowhere")
    connection.execute("create function public.search() returns int language sql as 'select 1'")
    with refused("There is a function public.search already."):
        call(connection, "expose_search")
    assert value(connection, "select count(*) from pg_proc where proname = 'similar'") == 2
    assert call(connection, "unexpose_search", schema="api") is True
    assert call(connection, "unexpose_search", schema="api") is False
    assert value(connection, "select count(*) from pg_proc where pronamespace = 'api'::regnamespace") == 0
    assert call(connection, "unexpose_search") is False, "what is not ours stays"
    assert value(connection, "select public.search()") == 1


def test_pages_of_several_tables_and_of_similar_rows_continue(two: psycopg.Connection) -> None:
    asked = "'{tickets,documents}', %s, %s, skip => %s, mode => 'text'"
    statement = f"select pipeline, key from pgembedd.search_many({asked})"
    whole = rows(two, statement, "card invoice", 1000, 0)
    assert len(whole) == 4
    assert [hit for skip in range(6) for hit in rows(two, statement, "card invoice", 1, skip)] == whole
    alike = "select key from pgembedd.similar('documents', '2', %s, skip => %s)"
    assert [key for skip in (0, 2, 4) for key in column(two, alike, 2, skip)] == column(two, alike, 1000, None)
