"""Builds that were broken off, pipelines that go meanwhile, and the index of a partitioned table."""

from __future__ import annotations

import threading

import psycopg
import pytest
from psycopg import errors

from tests.support.databases import Database
from tests.support.indexes import (
    NAME,
    await_builder,
    hnsw_indexes,
    index_state,
    make_due,
    nearest,
    old_snapshot,
    put_off,
    run_statements,
)
from tests.support.lock_timeouts import lock_timeouts_before
from tests.support.sql import call, make_documents, rows, value, work
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S

__all__ = ["connection"]

TICK = "select pgembedd.tick(0)"
LOOKS = """
    select coalesce(sum(calls), 0) from pg_stat_xact_user_functions
    where schemaname = 'pgembedd_internal' and funcname = '_fitting_indexes'
"""


# -- A build that was broken off ---------------------------------------------------------------------------


def broken_off(database: Database, connection: psycopg.Connection, statement: str = "") -> None:
    """A build of ours, or this one, that was ended while its index was complete and not yet valid."""
    with database.connect() as builder, old_snapshot(database):
        thread = threading.Thread(target=run_cancelled, args=(builder, statement))
        thread.start()
        connection.execute("select pg_cancel_backend(%s)", (await_builder(connection),))
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def run_cancelled(builder: psycopg.Connection, statement: str = "") -> None:
    """A build that is cancelled."""
    with pytest.raises(errors.QueryCanceled):
        builder.execute(statement.encode()) if statement else run_statements(builder, "documents")


def test_what_was_broken_off_is_dropped_and_built_again(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 20)
    put_off(connection)
    work(connection)
    exact = nearest(connection, [0.1, 0.2, 0.3])
    broken_off(database, connection)
    assert hnsw_indexes(connection) == {NAME: False}
    assert index_state(connection) == "invalid"
    assert nearest(connection, [0.1, 0.2, 0.3]) == exact
    first, second = run_statements(connection)
    assert "_drop_unfinished" in first
    assert "create index concurrently" in second
    assert hnsw_indexes(connection) == {NAME: True}


def test_nobody_drops_what_somebody_builds(
    database: Database, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    make_documents(connection, 3)
    put_off(connection)
    with old_snapshot(database) as holder:
        thread = threading.Thread(target=run_statements, args=(other, "documents"))
        thread.start()
        await_builder(connection)
        assert index_state(connection) == "building"
        with pytest.raises(errors.LockNotAvailable):
            run_statements(connection, "documents")
        connection.execute(TICK)
        connection.execute("insert into documents values (4, 'no writer waits')")
        holder.rollback()
        thread.join(PATIENCE_S)
    assert hnsw_indexes(connection) == {NAME: True}


def test_a_users_broken_index_is_neither_taken_nor_dropped(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    connection.execute("alter table documents add embedding halfvec(3)")
    broken_off(
        database, connection, "create index concurrently mine on documents using hnsw (embedding halfvec_cosine_ops)"
    )
    put_off(connection)
    assert index_state(connection) == "deferred"
    run_statements(connection)
    assert hnsw_indexes(connection) == {NAME: True, "mine": False}


# -- Dropping the pipeline meanwhile -----------------------------------------------------------------------


def test_drop_pipeline_before_its_index(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    put_off(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    assert rows(connection, "select * from pgembedd.status") == []
    assert hnsw_indexes(connection) == {}


def test_drop_pipeline_ends_the_build_and_takes_what_it_left(
    database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection, 3)
    put_off(connection)
    with database.connect() as builder, old_snapshot(database):
        thread = threading.Thread(target=run_cancelled, args=(builder,))
        thread.start()
        await_builder(connection)
        connection.execute("set statement_timeout = '1min'")
        call(connection, "drop_pipeline", pipeline="documents")
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert hnsw_indexes(connection) == {}


def test_drop_pipeline_after_a_build_that_was_broken_off(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    put_off(connection)
    broken_off(database, connection)
    call(connection, "drop_pipeline", pipeline="documents")
    assert hnsw_indexes(connection) == {}


# -- Partitioned tables ------------------------------------------------------------------------------------

FRAME = {NAME: False, "high_embedding_hnsw": False}


@pytest.fixture
def partitioned(connection: psycopg.Connection) -> psycopg.Connection:
    """`documents`, partitioned by id: 0 to 10, and 20 to 30 partitioned once more; two rows."""
    connection.execute("""
        create table documents (id int primary key, title text, content text) partition by range (id);
        create table low partition of documents for values from (0) to (10);
        create table high partition of documents for values from (20) to (30) partition by range (id);
        create table "High 1" partition of high for values from (20) to (25);
        insert into documents values (1, 'one', ''), (20, 'twenty', '');
    """)
    put_off(connection)
    return connection


def parts(connection: psycopg.Connection) -> dict[str, bool]:
    """The parts of the index without the oids in their names."""
    return {name.strip('"').rstrip("0123456789").rstrip("_"): valid for name, valid in hnsw_indexes(connection).items()}


@pytest.mark.own_database
def test_a_partitioned_index_is_a_frame_until_its_parts_are_there(partitioned: psycopg.Connection) -> None:
    assert parts(partitioned) == FRAME
    assert index_state(partitioned) == "deferred"
    work(partitioned)
    partitioned.execute("create table middle partition of documents for values from (10) to (20)")
    partitioned.execute(TICK)
    assert index_state(partitioned) == "due"
    statements = run_statements(partitioned)
    assert [statement.split()[:3] for statement in statements].count(["create", "index", "concurrently"]) == 2
    assert index_state(partitioned) == "valid"
    assert set(parts(partitioned).values()) == {True}
    assert len(parts(partitioned)) == 5


def test_of_a_valid_index_no_partition_is_looked_at(partitioned: psycopg.Connection) -> None:
    def looks(state: str) -> int:
        before = value(partitioned, LOOKS)
        assert index_state(partitioned) == state
        return int(value(partitioned, LOOKS) - before)

    partitioned.execute("set track_functions = 'all'")
    assert looks("deferred") == 5
    partitioned.execute("select pgembedd.drop_pipeline('documents', drop_vectors => true)")
    call(partitioned, "create_pipeline", pipeline="documents", source="documents", content_columns=["title"])
    assert looks("valid") == 1


def test_a_partition_that_was_being_built_is_built_again(database: Database, partitioned: psycopg.Connection) -> None:
    work(partitioned)
    broken_off(database, partitioned)
    assert index_state(partitioned) == "invalid"
    run_statements(partitioned, "documents")
    assert index_state(partitioned) == "valid"


@pytest.mark.own_database
def test_an_index_that_a_partition_has_already_is_attached(partitioned: psycopg.Connection) -> None:
    partitioned.execute("create index mine on low using hnsw (embedding halfvec_cosine_ops)")
    run_statements(partitioned, "documents")
    assert index_state(partitioned) == "valid"
    assert value(partitioned, "select count(*) from pg_inherits where inhrelid = 'mine'::regclass") == 1


@pytest.mark.own_database
def test_dropping_the_pipeline_drops_the_frame(partitioned: psycopg.Connection) -> None:
    first = next(iter(partitioned.execute("select pgembedd.index_statements('documents')")))
    partitioned.execute(first[0])
    call(partitioned, "drop_pipeline", pipeline="documents")
    assert hnsw_indexes(partitioned) == {}


def test_it_does_not_wait_long_for_the_writers_of_a_partitioned_table(
    partitioned: psycopg.Connection, other: psycopg.Connection
) -> None:
    partitioned.execute(f"drop index {NAME}")
    make_due(partitioned)
    with other.transaction(), lock_timeouts_before(partitioned, "CREATE INDEX") as timeouts:
        other.execute("insert into documents values (2, 'two')")
        with pytest.raises(errors.LockNotAvailable):
            run_statements(partitioned, "documents")
    assert timeouts == ["100ms"]
    run_statements(partitioned, "documents")
    assert index_state(partitioned) == "valid"
