"""Texts that are longer than the model reads: listed afterwards, and proposed to be cut into chunks before."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.sql import call, claim, create_pipeline, make_documents, rows, store, value
from tests.support.transaction import connection

__all__ = ["connection"]


def notices(connection: psycopg.Connection, **options: Any) -> list[tuple[str, str]]:
    """(message, hint) of what create_pipeline() tells, besides what Postgres says of triggers."""
    found: list[tuple[str, str]] = []
    connection.add_notice_handler(
        lambda told: (
            found.append((told.message_primary or "", told.message_hint or ""))
            if told.sqlstate == "00000" and "skipping" not in (told.message_primary or "")
            else None
        )
    )
    create_pipeline(connection, model="a:model", **options)
    return found


@pytest.mark.own_database
def test_rows_that_were_cut_are_listed(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents (id, title) values (1, 'x'), (2, 'y'), (3, 'z')")
    jobs = claim(connection)
    store(connection, jobs[:1], dropped=7)
    store(connection, jobs[1:2])
    store(connection, jobs[2:], dropped=9)
    listed = "select pipeline, key, dropped_tokens, since <= now() from pgembedd.truncated order by dropped_tokens desc"
    assert rows(connection, listed) == [("documents", 3, 9, True), ("documents", 1, 7, True)]


def test_long_content_gets_a_proposal(connection: psycopg.Connection) -> None:
    make_documents(connection, 30)
    connection.execute("update documents set content = repeat('word ', 700) where id > 20")
    ((message, hint),) = notices(connection)
    assert message.startswith("10 of 30 sampled rows of public.documents seem to be longer than 512 tokens")
    assert "embedding_table => 'documents_embeddings'" in hint


@pytest.mark.parametrize("long", [0, 1])
def test_hardly_any_long_content_gets_none(connection: psycopg.Connection, long: int) -> None:
    make_documents(connection, 30)
    connection.execute("update documents set content = repeat('word ', 700) where id <= %s", [long])
    assert notices(connection) == []


def test_with_an_embedding_table_there_is_nothing_to_propose(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    connection.execute("update documents set content = repeat('word ', 700)")
    assert notices(connection, embedding_table="chunks") == []


def test_a_large_partitioned_table_is_sampled(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text) partition by hash (id)")
    connection.execute("create table part0 partition of documents for values with (modulus 1, remainder 0)")
    connection.execute("alter table part0 set (autovacuum_enabled = off, fillfactor = 10)")
    connection.execute("insert into documents select i, repeat('word ', 700) from generate_series(1, 1000) i")
    ((message, _),) = notices(connection, backfill=False)
    seen = int(message.split(" of ")[1].split()[0])
    assert 50 <= seen <= 200
    assert message.startswith(f"{seen} of {seen} sampled rows")


def test_content_that_raises_does_not_stop_it(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    connection.execute(
        "create function content(d documents) returns text language plpgsql as $$ begin return 1 / (d.id - 2); end $$"
    )
    assert notices(connection, content_function="content") == [
        ("The content of public.documents could not be looked at: division by zero", "")
    ]
    assert value(connection, "select state from pgembedd.status") == "running"
    assert call(connection, "backfill", pipeline="documents") == 0, "all rows were queued"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("word " * 100, 125), ("文" * 100, 100), ("слово" * 20, 62), ("é" * 100, 62)],
)
def test_how_long_a_text_is_said_to_be(connection: psycopg.Connection, text: str, tokens: int) -> None:
    assert value(connection, "select pgembedd_internal._tokens(%s)", text) == tokens
