"""What is shown of rows without texts, or whose texts the caller may not read."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.roles import Roles
from tests.support.search import QUERY, search
from tests.support.sql import create_pipeline
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.mark.parametrize(
    ("column", "value", "snippet"),
    [
        ("jsonb", """'{"q": "reset"}'""", '{"q": "reset"}'),
        ("text[]", "'{a,b}'", "{a,b}"),
        ("int", "7", "7"),
        ("mood", "'glad'", "glad"),
    ],
)
def test_rows_without_a_text_column_are_found(
    connection: psycopg.Connection, column: str, value: str, snippet: str
) -> None:
    connection.execute("create type mood as enum ('glad')")
    connection.execute(f"create table documents (id int primary key, content {column})".encode())
    create_pipeline(connection, content_columns=["content"], dimensions=3)
    connection.execute(f"insert into documents values (1, {value})".encode())
    connection.execute(f"update documents set embedding = '{QUERY}'".encode())
    for mode in ("semantic", "hybrid"):
        (hit,) = search(connection, query="reset", mode=mode)
        assert (hit.key, (hit.snippet or "").replace("**", "")) == (1, snippet)


def test_a_caller_who_may_read_no_text_finds_rows(roles: Roles, connection: psycopg.Connection) -> None:
    reader = roles.make("reader")
    connection.execute("create table documents (id int primary key, content text)")
    create_pipeline(connection, content_columns=["content"], dimensions=3)
    connection.execute("insert into documents values (1, 'hidden')")
    connection.execute(f"update documents set embedding = '{QUERY}'".encode())
    connection.execute(
        f"select pgembedd.grant_search('{reader}'); grant select (id, embedding) on documents to {reader}"
    )
    connection.execute(f"set local role {reader}")
    (hit,) = search(connection)
    assert (hit.key, hit.snippet) == (1, None)
