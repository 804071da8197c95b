"""Embedding again stands in no writer's way for long, and never makes one the victim of a deadlock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.sql import column, create_pipeline, make_documents, rows, value, work
from tests.support.waiting import PATIENCE_S, eventually

ASKED = {
    "force": "select pgembedd.backfill('documents', force => true)",
    "requeue": "select pgembedd.requeue('documents', '{1,2,3}')",
}
WAITS = "select exists (select from pg_locks where not granted)"


def prepared(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)


@pytest.mark.parametrize("asked", ASKED)
def test_it_waits_for_no_deleted_row(connection: psycopg.Connection, other: psycopg.Connection, asked: str) -> None:
    prepared(connection)
    connection.execute("set lock_timeout = '1min'")
    with other.transaction():
        other.execute("delete from documents where id = 2")
        connection.execute(ASKED[asked])
    assert column(connection, "select distinct id from chunks where content_hash = '' order by id") == [1, 3]
    work(connection)
    assert rows(connection, "select id from chunks where content_hash = ''") == []
    assert column(connection, "select distinct id from chunks order by id") == [1, 3]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("statement", ["delete from documents", "truncate documents"])
def test_a_deletion_waits_for_it_and_goes_on(
    connection: psycopg.Connection, other: psycopg.Connection, asked: str, statement: str
) -> None:
    prepared(connection)
    connection.execute("set lock_timeout = '1min'")
    with other.transaction(), ThreadPoolExecutor(1) as pool:
        other.execute("delete from documents where id = 2")
        with connection.transaction():
            connection.execute(ASKED[asked])
            deletion = pool.submit(other.execute, statement)
            eventually(lambda: value(connection, WAITS))
            connection.execute("select count(*) from documents")
        deletion.result(timeout=PATIENCE_S)
    assert rows(connection, "select id from chunks") == []
