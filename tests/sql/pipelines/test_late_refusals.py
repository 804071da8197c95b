"""A call that a pipeline cannot execute any more, or with impossible rows, is refused with a sentence."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import create_pipeline, make_documents, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

ASKED = {
    "backfill": "select pgembedd.backfill('documents')",
    "force": "select pgembedd.backfill('documents', force => true)",
    "requeue": "select pgembedd.requeue('documents', '{1}')",
    "wait_for_row": "call pgembedd.wait_for_row('documents', '1')",
}
# wait_for_row() refuses to wait in a transaction that has written.
CALLS = [pytest.param(name, marks=[pytest.mark.own_database] * name.startswith("wait_for")) for name in ASKED]


@prepared
def chunked(connection: psycopg.Connection) -> None:
    """A row that waits, and a table for its chunks."""
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks")


@pytest.mark.parametrize("asked", CALLS)
@pytest.mark.parametrize("table", ["documents", "chunks"])
def test_a_pipeline_without_its_table(chunked: psycopg.Connection, asked: str, table: str) -> None:
    chunked.execute(f"drop table {table} cascade")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refusal:
        chunked.execute(ASKED[asked])
    what = "The table public.documents" if table == "documents" else "The embedding table public.chunks"
    assert (refusal.value.diag.message_primary or "").startswith(f"{what} was dropped. Remove the pipeline with")


def test_status_names_tables_that_are_gone(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks")
    seen = rows(connection, "select source, destination from pgembedd.status")
    assert seen == [("public.documents", "public.chunks")]
    connection.execute("drop table documents, chunks cascade")
    assert rows(connection, "select source, destination from pgembedd.status") == [
        ("public.documents", "public.chunks")
    ]


@pytest.mark.parametrize("asked", CALLS[2:])
@pytest.mark.parametrize("check", ["check (value > 5)", "not null check (value <> 1)"])
def test_a_key_that_its_domain_does_not_take(connection: psycopg.Connection, asked: str, check: str) -> None:
    connection.execute(f"create domain number as int {check}")
    make_documents(connection, key="id number primary key")
    create_pipeline(connection)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='no key of "documents"'):
        connection.execute(ASKED[asked])


@pytest.mark.own_database
@pytest.mark.parametrize("wait", ["wait_for_pipeline('documents', null)", "wait_for_row('documents', '1', null)"])
def test_nobody_waits_for_ever(connection: psycopg.Connection, wait: str) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("set statement_timeout = '1min'")
    with pytest.raises(psycopg.errors.NullValueNotAllowed, match="the wait would never end"):
        connection.execute(f"call pgembedd.{wait}")


def test_null_means_not_always(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection, enable_always=None)
    assert value(connection, "select enable_always from pgembedd_internal.pipeline") is False
