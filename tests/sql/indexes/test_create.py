"""The time at which the index is built, the statements for a deferred one, and its state in status."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from tests.support.databases import Database
from tests.support.indexes import (
    NAME,
    hnsw_indexes,
    index_state,
    outstanding,
    put_off,
    run_statements,
)
from tests.support.presence import beat
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    BACKFILL,
    FRESH,
    call,
    claim,
    column,
    create_pipeline,
    make_documents,
    queued,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

MANY = 20_000
WORDS_INDEXES = (
    "select indexrelid::regclass::text from pg_index join pg_class c on c.oid = indexrelid"
    " where indrelid = 'documents_words'::regclass and not indisprimary"
)
TICK = "select pgembedd.tick(0)"


# -- Now or later ------------------------------------------------------------------------------------------


def test_auto_puts_the_index_of_a_large_table_off(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, MANY)
    with database.connect() as builder:
        beat(builder)
        create_pipeline(connection, index_type="hnsw")
    assert hnsw_indexes(connection) == {}
    assert index_state(connection) == "deferred"
    left = value(connection, "select extract(epoch from index_due_at - now()) from pgembedd.status")
    assert 0 <= 24 * 3600 - left < 600


@pytest.mark.parametrize(("count", "task"), [(MANY - 1, "index"), (MANY, "claim")])
def test_auto_makes_it_now(database: Database, connection: psycopg.Connection, count: int, task: str) -> None:
    """A small table has little to gain; and without a role that would build it later, it would never be built."""
    make_documents(connection, count)
    with database.connect() as worker:
        beat(worker, (task,))
        create_pipeline(connection, index_type="hnsw")
    assert hnsw_indexes(connection) == {NAME: True}
    assert index_state(connection) == "valid"
    assert outstanding(connection) == []


def test_a_builder_without_rights_on_the_table_is_none(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    stranger = roles.make("stranger")
    make_documents(connection, MANY)
    connection.execute(f"select pgembedd.grant_worker('{stranger}')".encode())
    with connect_as(database, stranger) as other:
        beat(other)
        assert rows(connection, "select tasks from pgembedd.workers()") == [(["claim", "embed"],)]
        create_pipeline(connection, index_type="hnsw")
    assert index_state(connection) == "valid"


@pytest.mark.parametrize(("when", "made"), [("now", {NAME: True}), ("later", {})])
def test_it_can_be_said(connection: psycopg.Connection, when: str, made: dict[str, bool]) -> None:
    make_documents(connection, 3)
    create_pipeline(connection, index_type="hnsw", index_when=when)
    assert hnsw_indexes(connection) == made
    assert value(connection, "select to_regclass('documents_embedding_missing') is not null"), "this one is cheap"


def test_without_an_index_there_is_nothing_to_do(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, index_type="none", index_when="later")
    assert index_state(connection) == "none"
    assert run_statements(connection) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"index_when": "sometimes"}, "sometimes"),
        ({"index_when": None}, "NULL"),
        ({"index_within": "-1 second"}, "index_within"),
        ({"index_within": None}, "index_within"),
    ],
)
def test_what_makes_no_sense_is_refused(connection: psycopg.Connection, options: dict[str, object], words: str) -> None:
    make_documents(connection)
    with pytest.raises(errors.InvalidParameterValue, match=words):
        create_pipeline(connection, index_type="hnsw", **options)


# -- When it is due ----------------------------------------------------------------------------------------


def test_it_is_due_when_the_backfill_is_done(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    put_off(connection)
    jobs = claim(connection, BACKFILL, size=2)
    store(connection, jobs)
    connection.execute(TICK)
    assert index_state(connection) == "deferred", "one row still waits"
    work(connection, [BACKFILL])
    connection.execute("insert into documents values (4, 'a fresh write')")
    connection.execute(TICK)
    assert queued(connection, FRESH) == [4]
    assert index_state(connection) == "due"


def test_an_empty_table_waits_for_its_load(connection: psycopg.Connection) -> None:
    make_documents(connection)
    put_off(connection)
    connection.execute(TICK)
    assert index_state(connection) == "deferred"


def test_it_is_due_at_the_deadline_whatever_waits(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    put_off(connection, index_within="1 hour")
    call(connection, "pause", pipeline="documents")
    connection.execute(TICK)
    assert index_state(connection) == "deferred"
    connection.execute("update pgembedd_internal.pipeline set index_due_at = index_due_at - interval '1 hour'")
    assert len(queued(connection, BACKFILL)) == 3
    assert index_state(connection) == "due"


# -- What is left to do ------------------------------------------------------------------------------------


@pytest.mark.own_database
def test_what_is_left_to_do_makes_the_index(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    put_off(connection, index_options='{"m": 8, "ef_construction": 40}')
    work(connection)
    (statement,) = run_statements(connection, "documents")
    assert statement.startswith("create index concurrently")
    definition = value(connection, f"select pg_get_indexdef('{NAME}'::regclass)")
    assert "USING hnsw (embedding halfvec_cosine_ops) WITH (m='8', ef_construction='40')" in definition
    assert index_state(connection) == "valid"
    connection.execute(TICK)
    assert outstanding(connection) == []
    assert run_statements(connection, "documents") == []


@pytest.mark.parametrize(
    ("estimate", "options", "graph"),
    [(300_000, "{}", (16, 64)), (300_001, "{}", (32, 128)), (300_001, '{"m": 8}', (8, 64))],
)
def test_the_graph_follows_from_the_number_of_rows(
    connection: psycopg.Connection, estimate: int, options: str, graph: tuple[int, int]
) -> None:
    make_documents(connection, 1)
    put_off(connection, index_options=options)
    connection.execute("update pg_class set reltuples = %s where oid = 'documents'::regclass", [estimate])
    statement = value(connection, "select pgembedd.index_statements('documents')")
    assert statement.endswith("with (m = {}, ef_construction = {})".format(*graph))


def test_the_graphs_of_partitions_follow_from_the_largest(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text) partition by hash (id)")
    for part in (0, 1):
        connection.execute(f"create table p{part} partition of documents for values with (modulus 2, remainder {part})")
    put_off(connection)
    for largest, links in ((200_000, 16), (300_001, 32)):
        connection.execute("update pg_class set reltuples = 200000 where relname in ('documents', 'p0')")
        connection.execute("update pg_class set reltuples = %s where oid = 'p1'::regclass", [largest])
        assert value(connection, "select (pgembedd_internal._graph(p)).m from pgembedd_internal.pipeline p") == links


@pytest.mark.own_database
def test_asking_for_it_makes_it_due(connection: psycopg.Connection) -> None:
    """Also where none was wanted at first, or where it was dropped."""
    make_documents(connection, 1)
    create_pipeline(connection, index_type="none")
    call(connection, "index_statements", pipeline="documents")
    assert index_state(connection) == "due"
    run_statements(connection)
    assert hnsw_indexes(connection) == {NAME: True}
    connection.execute(TICK)
    connection.execute(f"drop index {NAME}")
    assert index_state(connection) == "dropped"
    run_statements(connection, "documents")
    assert index_state(connection) == "valid"


@pytest.mark.own_database
def test_a_dropped_index_of_the_words_is_built_again(connection: psycopg.Connection) -> None:
    """A search by words would read them all, and one by meaning would not show it."""
    make_documents(connection, 1)
    create_pipeline(connection, index_type="hnsw", text_config="english")
    connection.execute(TICK)
    assert index_state(connection) == "valid"
    (words_index,) = column(connection, WORDS_INDEXES)
    connection.execute(f"drop index {words_index}")
    assert index_state(connection) == "dropped"
    assert len(run_statements(connection, "documents")) == 1
    assert index_state(connection) == "valid"
    assert len(column(connection, WORDS_INDEXES)) == 1
    connection.execute("update pg_index set indisvalid = false where indexrelid = 'documents_words_gin'::regclass")
    assert len(run_statements(connection, "documents")) == 2
    assert (index_state(connection), len(column(connection, WORDS_INDEXES))) == ("valid", 1)


def test_an_index_of_the_users_settles_it(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    put_off(connection)
    connection.execute("create index mine on documents using hnsw (embedding halfvec_cosine_ops)")
    assert index_state(connection) == "valid"
    assert run_statements(connection) == []
    connection.execute(TICK)
    assert outstanding(connection) == []


def test_a_table_that_cannot_be_indexed_is_refused(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    put_off(connection)
    connection.execute("alter table documents rename embedding to vector")
    assert run_statements(connection) == []
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no column"):
        run_statements(connection, "documents")
    connection.execute("drop table documents")
    assert index_state(connection) is None
    connection.execute(TICK)
