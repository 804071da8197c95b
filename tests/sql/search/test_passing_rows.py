"""Both legs over the rows that pass a filter, by the function that is kept: the hits are those of two statements."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.roles import Roles
from tests.support.search import Hit, search
from tests.support.sql import create_pipeline, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

ROWS = 2000
# Of each key: the columns, and their values of the i-th row.
KEYS = {
    "int": ("id int primary key", "i"),
    "domain": ("id short primary key", "'k' || i"),
    "composite": ("id int, part text, primary key (part, id)", "i, 'it''s'"),
    "array": ("id int[] primary key", "array[i, 1]"),
}
MANY = " ".join(f"w{n}" for n in range(1, 13))
QUERIES = ["seldom common often", "common", "seldom", "often two", MANY, "common -w3"]
FILTERS = [{"share": {"$lt": n}} for n in (3, 40, 300, 1500)]


def make(connection: psycopg.Connection, key: str) -> None:
    """Rows of words that one of 2, 10 and 300 has, and one of 20 that each 20th has; each with a vector."""
    columns, values = KEYS[key]
    connection.execute("create domain short as varchar(9)")
    connection.execute(f"create table documents ({columns}, n int, content text, share int)".encode())
    connection.execute(
        f"insert into documents select {values}, i, concat_ws(' ', 'w' || i % 20,"
        " case when i % 2 = 0 then 'common' end,"
        " case when i % 10 = 0 then 'often' end, case when i % 300 = 0 then 'seldom' end),"
        f" i * 7919 % {ROWS} from generate_series(1, {ROWS}) i".encode()
    )
    create_pipeline(connection, content_columns=["content"], text_config="simple", index_type="none", dimensions=3)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("update documents set embedding = array[sin(n), cos(n), n % 7]::real[]::vector")
    fill_words(connection)


def fill_words(connection: psycopg.Connection) -> None:
    while not value(connection, "select filled from pgembedd_internal.word_statistics"):
        connection.execute("select pgembedd_internal._fill_words(p, 10000) from pgembedd_internal.pipeline p")
    connection.execute("analyze documents; analyze documents_words")
    connection.execute("select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p")


def hits(connection: psycopg.Connection) -> list[list[Hit]]:
    return [
        search(connection, query=query, mode="hybrid", filter=filter, k=k)
        for query in QUERIES
        for filter in FILTERS
        for k in (10, 100)
    ]


def calls(connection: psycopg.Connection) -> int:
    found = "select coalesce(sum(calls), 0)::int from pg_stat_xact_user_functions where funcname = '_search_1_passing'"
    return int(value(connection, found))


@pytest.mark.parametrize("key", KEYS)
def test_the_hits_are_those_of_two_statements(connection: psycopg.Connection, key: str) -> None:
    make(connection, key)
    connection.execute("set local track_functions = 'all'")
    together = hits(connection)
    assert (calls(connection) > 0) == (key != "array")
    assert sum(len(found) for found in together) > 1000
    connection.execute("update pgembedd_internal.prepared_search set filters = filters - 'passing'")
    before = calls(connection)
    assert hits(connection) == together
    assert calls(connection) == before


@pytest.mark.parametrize(
    "statement",
    [
        "alter view documents_words_view rename to other_view",
        "alter table documents_words rename to other_words",
        "drop view documents_words_view",
    ],
)
def test_words_that_are_renamed_are_searched(connection: psycopg.Connection, statement: str) -> None:
    make(connection, "int")
    before = hits(connection)
    connection.execute("set local track_functions = 'all'")
    connection.execute(statement.encode())
    assert hits(connection) == before
    assert calls(connection) == 0


def test_a_key_of_another_type_has_another_function(connection: psycopg.Connection) -> None:
    make(connection, "int")
    before = hits(connection)
    connection.execute("alter table documents alter id type bigint")
    connection.execute("select pgembedd_internal._regenerate(p) from pgembedd_internal.pipeline p")
    fill_words(connection)
    connection.execute("set local track_functions = 'all'")
    assert hits(connection) == before
    assert calls(connection) > 0
    assert len(rows(connection, "select from pg_proc where proname = '_search_1_passing'")) == 1


def test_roles_find_what_they_may_read(roles: Roles, connection: psycopg.Connection) -> None:
    make(connection, "int")
    reader = roles.make("reader")
    connection.execute("select pgembedd.grant_search(%s)", [reader])
    connection.execute(f"grant select on documents, documents_words, documents_words_view to {reader}")
    connection.execute("set local track_functions = 'all'")
    everything = hits(connection)
    for secured in (False, True):
        called = calls(connection)
        connection.execute(f"set role {reader}")
        found = hits(connection)
        connection.execute("reset role")
        assert (calls(connection) > called) == (not secured)
        assert found == everything if not secured else {hit.key % 2 for each in found for hit in each} == {1}
        if secured:
            return
        connection.execute("alter table documents enable row level security")
        connection.execute("create policy odd on documents using (n % 2 = 1)")
        connection.execute("select pgembedd_internal._mirror_words_rights(p) from pgembedd_internal.pipeline p")
