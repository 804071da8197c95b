"""A dump with a pipeline and a full queue, restored elsewhere: everything goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.databases import Database, fresh_database
from tests.support.pgmq_extension import PgmqServer
from tests.support.sql import BACKFILL, FRESH, claim, connected, create_pipeline, make_documents, store, value
from worker.migrate import check_schema, migrate
from worker.postgres import EmbeddedPostgres

ROWS = 30


@contextmanager
def restored(server: EmbeddedPostgres, original: Database) -> Iterator[Database]:
    """A new database with what pg_dump gives of `original`."""
    dump = subprocess.run([str(server.bin_dir / "pg_dump"), original.conninfo], capture_output=True, check=True).stdout
    with fresh_database(server) as copy:
        psql = [str(server.bin_dir / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", copy.conninfo]
        subprocess.run(psql, input=dump, capture_output=True, check=True)
        yield copy


def fill(database: Database) -> None:
    """A pipeline with rows that are embedded, rows that wait in both lanes, and one that was given up."""
    migrate(database.conninfo)
    with connected(database) as connection:
        make_documents(connection, ROWS)
        create_pipeline(connection)
        store(connection, claim(connection, BACKFILL, 10))
        connection.execute("insert into documents (id, title) select i, 'fresh' from generate_series(101, 105) i")
        connection.execute("update documents set title = 'changed' where id = 1")


def work_everything(connection: psycopg.Connection) -> None:
    """Both lanes until they are empty."""
    for queue in (FRESH, BACKFILL):
        while jobs := claim(connection, queue):
            store(connection, jobs)


def check(copy: Database) -> None:
    """Writes worked before anybody mended anything; `migrate` mends; every row gets its vector."""
    with connected(copy) as connection:
        connection.execute("insert into documents (id, title) values (200, 'written before migrate')")
    migrate(copy.conninfo)
    with connected(copy) as connection:
        check_schema(connection)
        work_everything(connection)
        assert value(connection, "select count(*) from documents where embedding is null") == 0
        connection.execute("update documents set title = 'and again' where id = 200")
        assert value(connection, "select queued from pgembedd.status") == 1


def test_with_pgmq_as_sql(server: EmbeddedPostgres, empty_database: Database) -> None:
    fill(empty_database)
    with restored(server, empty_database) as copy:
        with connected(copy) as connection:
            assert value(connection, "select queued + backfill from pgembedd.status") == ROWS - 10 + 6, "queues travel"
        check(copy)


def test_with_pgmq_as_an_extension(pgmq_server: PgmqServer, pgmq_database: Database) -> None:
    fill(pgmq_database)
    with pgmq_database.connect() as connection:
        installed = connection.execute("select pgmq_install from pgembedd.installation").fetchone()
        assert installed == ("extension",)
    with restored(pgmq_server.server, pgmq_database) as copy:
        check(copy)


def test_the_row_changed_while_queued_is_not_lost(server: EmbeddedPostgres, empty_database: Database) -> None:
    """The stale vector of row 1 travels with its job, where the queue travels."""
    fill(empty_database)
    with restored(server, empty_database) as copy, connected(copy) as connection:
        before = value(connection, "select embedding::text from documents where id = 1")
        work_everything(connection)
        assert value(connection, "select embedding::text from documents where id = 1") != before


@pytest.mark.parametrize("queue", [FRESH, BACKFILL])
def test_a_missing_queue_stops_no_writer(database: Database, queue: str) -> None:
    with connected(database) as connection:
        make_documents(connection)
        create_pipeline(connection)
        connection.execute("select pgmq.drop_queue(%s)", (queue,))
        count = 1 if queue == FRESH else 1001
        connection.execute("insert into documents (id, title) select i, 'x' from generate_series(1, %s) i", (count,))
        migrate(database.conninfo)
        assert value(connection, "select queued + backfill from pgembedd.status") == count
