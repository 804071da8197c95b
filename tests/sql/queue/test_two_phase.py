"""PREPARE TRANSACTION, which a NOTIFY forbids: writers may use it where no worker waits for one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import call, create_pipeline, make_documents, value

WRITES = {
    "a row": "insert into documents (id) values (5001)",
    "a load": "insert into documents (id) select generate_series(5001, 8000)",
    "a change": "update documents set title = 'new' where id = 1",
    "a large change": "update documents set title = 'new'",
    "another key": "update documents set id = 5001 where id = 1",
    "other keys": "update documents set id = id + 5000",
    "a row less": "delete from documents where id = 1",
    "rows less": "delete from documents",
    "all gone": "truncate documents",
    "replicated": "set local session_replication_role = replica; update documents set title = 'new'",
    "without a queue": "drop table pgmq.q_pgembedd_backfill; update documents set title = 'new'",
}
CALLS = {
    "backfill": "select pgembedd.backfill('chunks', true)",
    "requeue": "select pgembedd.requeue('chunks', array['1'::jsonb])",
    "sweep": "select pgembedd.sweep()",
}


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A table with a pipeline of each kind, and no worker that sleeps."""
    make_documents(connection, 2000)
    create_pipeline(connection, enable_always=True, backfill=False)
    create_pipeline(connection, pipeline="chunks", embedding_table="chunks", enable_always=True, backfill=False)
    connection.execute("""
        insert into chunks (
            id, chunk_index, chunk, start_offset, end_offset, embedding, content_hash, model, tokens, tokens_kept)
        select i, 0, 'a', 0, 1, '[1,2,3]', '', 'x', 1, 1 from generate_series(1, 2000) i
    """)


@pytest.fixture
def prepared_one(connection: psycopg.Connection) -> Iterator[str]:
    """The name of a transaction that is rolled back if it is there."""
    name = f"of {value(connection, 'select current_database()')}"
    yield name
    if value(connection, "select count(*) from pg_prepared_xacts where gid = %s", name):
        connection.execute(f"rollback prepared '{name}'".encode())


@pytest.mark.parametrize("statement", (WRITES | CALLS).values(), ids=(WRITES | CALLS))
def test_a_transaction_is_prepared_and_committed(
    documents: psycopg.Connection, prepared_one: str, statement: str
) -> None:
    documents.execute("begin")
    documents.execute(statement.encode())
    documents.execute(f"prepare transaction '{prepared_one}'".encode())
    documents.execute(f"commit prepared '{prepared_one}'".encode())


def test_a_worker_that_waits_for_a_notify_forbids_it(documents: psycopg.Connection, prepared_one: str) -> None:
    call(documents, "set_idle", idle=True)
    documents.execute("begin; insert into documents (id) values (5001)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
        documents.execute(f"prepare transaction '{prepared_one}'".encode())
