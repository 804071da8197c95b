"""Columns and tables that are called like something in our own statements."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.roles import Roles
from tests.support.search import search
from tests.support.sql import claim, column, create_pipeline, read, work
from tests.support.transaction import connection

__all__ = ["connection"]

SOURCE = """
    create table documents (id int primary key, gone int, body text, s text, n text, r text, i text, e text, k text);
    alter table documents drop gone;
    insert into documents (id, body, s) values (1, 'the body', 'another column');
    create function inp(documents) returns text language sql as 'select $1.body';
    create function inp(text) returns text language sql as $$ select 'planted' $$;
"""


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_the_content_function_gets_the_row(connection: psycopg.Connection, options: dict[str, str]) -> None:
    connection.execute(SOURCE)
    create_pipeline(connection, content_function="inp", **options)
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    jobs = claim(connection, "pgembedd_backfill")
    assert [content.text for content in read(connection, jobs)] == ["the body"]
    connection.execute("update pgmq.q_pgembedd_backfill set vt = clock_timestamp()")
    assert set(work(connection).values()) == {"written"}


def test_a_search_shows_the_row(connection: psycopg.Connection) -> None:
    connection.execute(SOURCE)
    create_pipeline(connection, content_function="inp", watch_columns=["body"])
    work(connection)
    (hit,) = search(connection, embedding="[1,2,3]")
    assert (hit.snippet, hit.record["s"]) == ("the body", "another column")
    (row,) = column(connection, "select pgembedd.search_row('documents', '1')")
    assert (row["id"], row["k"], row["s"]) == (1, None, "another column")


@pytest.mark.parametrize("table", ["s", "t", "chunks"])
def test_the_chunks_of_hidden_rows_are_hidden(roles: Roles, connection: psycopg.Connection, table: str) -> None:
    reader = roles.make("reader")
    connection.execute(SOURCE + "insert into documents (id, body) values (2, 'hidden')")
    connection.execute(f"alter table documents enable row level security; grant select on documents to {reader}")
    connection.execute("create policy visible on documents using (id = 1)")
    create_pipeline(connection, content_function="inp", embedding_table=table)
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    assert column(connection, f"select id from {table} order by id") == [1, 2]
    connection.execute(f"set role {reader}")
    assert column(connection, f"select id from {table}") == [1]
    connection.execute("reset role")


def test_a_template_is_filled_in_once(connection: psycopg.Connection) -> None:
    template = "{a}, {b}, {a}; '{}' %s $1 {A} { a } {none}"
    variables = '{"a": "{b} %s \\\\1", "b": "{a}", "none": null}'
    rendered = connection.execute("select pgembedd_internal._render(%s, %s)", [template, variables]).fetchone()
    assert rendered == (r"{b} %s \1, {a}, {b} %s \1; '{}' %s $1 {A} { a } ",)


def test_a_placeholder_without_a_value_is_refused(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match=r"no value for \{b\}"):
        connection.execute("""select pgembedd_internal._render('{a} {b}', '{"a": 1}')""")


@pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])
def test_columns_that_are_called_like_placeholders(connection: psycopg.Connection, options: dict[str, str]) -> None:
    connection.execute(
        """create table "{source}" ("{key_record}" int primary key, "{column}" text, "{new_key}" text);
           insert into "{source}" values (1, 'the body', 'more')"""
    )
    create_pipeline(
        connection,
        source='"{source}"',
        content_columns=["{column}", "{new_key}"],
        enable_always=True,
        **(options or {"embedding_column": "{vector}"}),
    )
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    assert set(work(connection).values()) == {"written"}
    connection.execute("""update "{source}" set "{column}" = 'another body'""")
    assert set(work(connection).values()) == {"written"}
