"""Logical replication between two databases that both have pgembedd, as docs/how-to/tables.md lists it.

A publisher without it is in tests/sql/triggers/test_replication.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import fresh_database
from tests.support.postgres_versions import server_of_version
from tests.support.search import QUERY
from tests.support.sql import (
    LANES,
    call,
    connected,
    create_pipeline,
    make_documents,
    queued,
    rows,
    value,
    vectors,
    work,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

SUBSCRIPTIONS = """
    select subname from pg_subscription s join pg_database d on d.oid = s.subdbid and d.datname = current_database()
"""


@dataclass(frozen=True)
class Replicating:
    """A server whose databases publish to each other, and a migrated one to be copied."""

    server: EmbeddedPostgres
    migrated: str

    @contextmanager
    def databases(self) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
        """Two databases that pgembedd is installed in; subscriptions of the second end with it."""
        with (
            fresh_database(self.server, self.migrated) as source,
            fresh_database(self.server, self.migrated) as target,
            connected(source) as publisher,
            connected(target) as subscriber,
        ):
            try:
                yield publisher, subscriber
            finally:
                for (name,) in rows(subscriber, SUBSCRIPTIONS):
                    subscriber.execute(f"drop subscription {name}")


@pytest.fixture(scope="module")
def replicating() -> Iterator[Replicating]:
    """A server of this file's own."""
    with server_of_version(wal_level="logical") as server, fresh_database(server) as template:
        migrate(template.conninfo)
        yield Replicating(server, template.name)


def subscribe(
    publisher: psycopg.Connection, subscriber: psycopg.Connection, what: str, name: str = "everything"
) -> None:
    """Publishes tables, `what`, and subscribes to them."""
    publisher.execute(f"create publication {name} for table {what}")
    # In another session than the one that waits for it, which a subscription to the same server would wait for.
    publisher.execute(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    subscriber.execute(
        f"create subscription {name} connection '{publisher.info.dsn} password={publisher.info.password}'"
        f" publication {name} with (create_slot = false, slot_name = '{name}')"
    )


def embeds(connection: psycopg.Connection, **options: Any) -> None:
    """A pipeline whose rows are embedded."""
    create_pipeline(connection, **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    work(connection)


@pytest.mark.parametrize("columns", ["", "(id, title, content, other)"], ids=["vectors too", "without the vectors"])
def test_both_embed(replicating: Replicating, columns: str) -> None:
    """Vectors that arrive are compared; those that the publication leaves out are made twice, and the same."""
    with replicating.databases() as (publisher, subscriber):
        make_documents(publisher, 2)
        embeds(publisher)
        make_documents(subscriber)
        embeds(subscriber, enable_always=True)
        subscribe(publisher, subscriber, f"documents {columns}")
        eventually(lambda: sorted(queued(subscriber)) == [1, 2])
        assert set(work(subscriber).values()) == {"written" if columns else "unchanged"}
        publisher.execute("insert into documents values (3, 'third')")
        work(publisher)
        eventually(lambda: queued(subscriber) == ([3] if columns else [3, 3]))
        work(subscriber)
        assert vectors(subscriber) == vectors(publisher)
        assert queued(subscriber) == []


@pytest.mark.parametrize("table", [None, "chunks"])
def test_vectors_are_replicated_searched_and_then_made_there(replicating: Replicating, table: str | None) -> None:
    """A subscriber that embeds nothing, until it takes over."""
    count = f"select count(embedding) from {table or 'documents'}"
    with replicating.databases() as (publisher, subscriber):
        make_documents(publisher, 3)
        embeds(publisher, embedding_table=table)
        make_documents(subscriber)
        embeds(subscriber, embedding_table=table, triggers=False, backfill=False)
        call(subscriber, "pause", pipeline="documents")
        subscribe(publisher, subscriber, "documents, chunks" if table else "documents")
        publisher.execute("insert into documents values (4, 'fourth')")
        publisher.execute("update documents set title = 'changed' where id = 1")
        publisher.execute("delete from documents where id = 2")
        work(publisher)
        found = "select key, similarity from pgembedd.search('documents', null, mode => 'semantic', embedding => %s)"
        eventually(lambda: rows(subscriber, found, QUERY) == rows(publisher, found, QUERY))
        assert value(subscriber, count) == value(publisher, count)
        value(subscriber, "select pgembedd.sweep()")
        assert [queued(subscriber, lane) for lane in LANES] == [[], []]

        subscriber.execute("drop subscription everything")
        call(subscriber, "alter_pipeline", pipeline="documents", triggers=True)
        call(subscriber, "resume", pipeline="documents")
        subscriber.execute("insert into documents values (5, 'fifth')")
        assert set(work(subscriber)) >= {5}
