"""enable_always: changes under session_replication_role = replica are noted, once, and by real logical replication."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from tests.support.databases import fresh_database
from tests.support.postgres_versions import server_of_version
from tests.support.prepared import prepared
from tests.support.sql import connected, create_pipeline, look_twice, make_documents, queued, rows, state, value, work
from tests.support.waiting import eventually


@contextmanager
def as_replica(connection: psycopg.Connection) -> Iterator[None]:
    connection.execute("set session_replication_role = replica")
    yield
    connection.execute("reset session_replication_role")


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three rows with vectors, and a pipeline with enable_always."""
    make_documents(connection, 3)
    create_pipeline(connection, enable_always=True)
    work(connection)


def test_without_it_they_are_not_seen(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    with as_replica(connection):
        connection.execute("insert into documents values (1, 'x')")
    assert queued(connection) == []


def test_every_change_is_noted_once(documents: psycopg.Connection) -> None:
    with as_replica(documents):
        documents.execute("insert into documents values (4, 'x'), (5, 'y')")
        documents.execute("update documents set title = 'changed' where id = 1")
        documents.execute("update documents set other = 7")
        documents.execute("update documents set id = 6 where id = 2")
    assert queued(documents) == [4, 5, 1, 6]
    documents.execute("insert into documents values (7, 'x')")
    documents.execute("update documents set title = 'again' where id = 7")
    assert queued(documents) == [4, 5, 1, 6, 7, 7]
    assert set(work(documents).values()) <= {"written", "unchanged"}
    assert queued(documents) == [], "our own store is no change"


def test_what_is_cleared_at_once_is_cleared_there_too(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, enable_always=True, on_update="clear")
    work(connection)
    with as_replica(connection):
        connection.execute("update documents set title = 'changed'")
    assert value(connection, "select embedding is null from documents")
    assert queued(connection) == [1]


@pytest.mark.parametrize("on_update", ["keep", "clear"])
def test_chunks_are_kept_in_step(connection: psycopg.Connection, on_update: str) -> None:
    make_documents(connection, 5)
    create_pipeline(connection, enable_always=True, on_update=on_update, embedding_table="chunks")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    work(connection)
    with as_replica(connection):
        connection.execute("delete from documents where id = 1")
        connection.execute("update documents set id = 6 where id = 2")
        connection.execute("update documents set title = 'x' where id = 3")
    left = [(3,), (4,), (5,)] if on_update == "keep" else [(4,), (5,)]
    assert rows(connection, "select distinct id from chunks order by id") == left
    assert set(work(connection).values()) == {"written"}
    with as_replica(connection):
        connection.execute("truncate documents")
    assert rows(connection, "select id from chunks") == []


def test_the_sweep_sees_to_partitions_attached_later_and_to_triggers_set_otherwise(
    connection: psycopg.Connection,
) -> None:
    connection.execute(
        "create table documents (id int primary key, title text, content text) partition by range (id);"
        "create table low partition of documents for values from (0) to (10)"
    )
    create_pipeline(connection, enable_always=True, on_update="clear")
    connection.execute("create table high partition of documents for values from (10) to (20)")
    connection.execute("alter table documents enable trigger all; alter table low enable trigger all")
    connection.execute("select pgembedd.sweep()")
    assert state(connection) == "running"
    with as_replica(connection):
        connection.execute("insert into documents values (1, 'x'), (11, 'x')")
        connection.execute("insert into high values (12, 'x')")
    connection.execute("insert into documents values (2, 'x'), (13, 'x')")
    assert queued(connection) == [1, 11, 12, 2, 13]


@pytest.mark.parametrize("ddl", ["rename id to no", "rename title to name", "rename embedding to vector"])
def test_an_altered_table_does_not_stop_the_replication(documents: psycopg.Connection, ddl: str) -> None:
    documents.execute(f"alter table documents {ddl}")
    with as_replica(documents):
        documents.execute("insert into documents select 10")
        documents.execute("update documents set content = 'x', other = 5")
        documents.execute("delete from documents")
    look_twice(documents)
    assert state(documents) == "stopped"


@pytest.mark.slow
def test_a_subscriber_embeds_what_is_replicated() -> None:
    """A publisher that knows nothing of us, and a subscription with its first copy and its changes."""
    with (
        server_of_version(wal_level="logical") as server,
        fresh_database(server) as source,
        fresh_database(server) as target,
    ):
        migrate(target.conninfo)
        with source.connect() as publisher, connected(target) as subscriber:
            for connection in (publisher, subscriber):
                make_documents(connection)
            publisher.execute("insert into documents values (1, 'first'), (2, 'second')")
            publisher.execute("create publication everything for table documents")
            publisher.execute("select pg_create_logical_replication_slot('documents', 'pgoutput')")
            create_pipeline(subscriber, enable_always=True, embedding_table="chunks")
            subscriber.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
            subscriber.execute(
                f"create subscription documents connection '{source.conninfo}' publication everything"
                " with (create_slot = false, slot_name = 'documents')"
            )
            try:
                eventually(lambda: sorted(queued(subscriber)) == [1, 2])
                assert set(work(subscriber).values()) == {"written"}
                publisher.execute("insert into documents values (3, 'third')")
                publisher.execute("update documents set title = 'changed' where id = 1")
                publisher.execute("delete from documents where id = 2")
                eventually(lambda: sorted(queued(subscriber)) == [1, 3])
                assert set(work(subscriber).values()) == {"written"}
                chunks = "select distinct id from chunks order by id"
                eventually(lambda: rows(subscriber, chunks) == [(1,), (3,)])
                publisher.execute("truncate documents")
                eventually(lambda: rows(subscriber, chunks) == [])
            finally:
                subscriber.execute("drop subscription documents")
