"""Hypertables of TimescaleDB as sources, with the real extension out of Debian's package, which has no columnstore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.sql.models.test_change import begin, pin, work_both
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database
from tests.support.documents import await_quiet
from tests.support.embedders import MODEL
from tests.support.extension_package import offering_version
from tests.support.indexes import index_state, make_due, run_statements
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY
from tests.support.sql import (
    BACKFILL,
    call,
    column,
    connected,
    create_pipeline,
    queued,
    reason,
    rows,
    state,
    value,
    work,
)
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.engines

# A row a day, three days in a chunk.
TABLE = """
    create table documents (id int, at timestamptz, title text, content text, other int, primary key (id, at));
    select create_hypertable('documents', 'at', chunk_time_interval => interval '3 days',
                             create_default_indexes => false)
"""
ROWS = """
    insert into documents select i, timestamptz '2026-01-01 12:00+00' + i * interval '1 day', 'title ' || i, 'content'
    from generate_series(1, %s) i
"""
CHUNK = "select c::text from show_chunks('documents') c order by 1 limit 1"
OUR_TRIGGERS = "select count(*) from pg_trigger where tgname like 'pgembedd%'"
SWEEP = "select pgembedd.sweep()"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of PostgreSQL 17 that has TimescaleDB."""
    settings = {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
    with offering_version("timescaledb", "postgresql-17-timescaledb", 17, **settings) as running:
        yield running


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated database of the test's own with the hypertable `documents`."""
    with fresh_database(server) as made:
        with made.connect() as connection:
            connection.execute("create extension timescaledb")
        migrate(made.conninfo)
        with made.connect() as connection:
            connection.execute(TABLE)
        yield made


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """A superuser there."""
    with connected(database) as connection:
        yield connection


# Of a filter by day: how many chunks it leaves, how many there are, and whether a scan of their indexes is watched.
PARTS = """
    select a.parts, p.parts, (pgembedd_internal._search_path(t, a, '{10}')).credit is not null
    from pgembedd_internal._search_target('documents', null) t, pgembedd_internal._search_partitions(t.vectors) p,
         pgembedd_internal._search_expected(t, jsonb_populate_record(null::pgembedd_internal._asked, jsonb_build_object(
             'near_condition', format($f$s.at > timestamptz '2026-01-01' + %%s * interval '1 day'$f$, %s::int)))) a
"""


def ids(connection: psycopg.Connection, queue: str = "pgembedd_fresh") -> list[int]:
    """The ids in a queue, without their times."""
    return [key["id"] for key in queued(connection, queue)]


def lacking(connection: psycopg.Connection) -> list[int]:
    """The rows without a vector."""
    return column(connection, "select id from documents where embedding is null order by id")


def explained(connection: psycopg.Connection, filter_: dict[str, Any] | None = None) -> tuple[str, list[int]]:
    """The path of a search for the ten nearest rows, and their ids."""
    plan = value(
        connection,
        "select pgembedd.explain_search('documents', null, filter => %s, mode => 'semantic', embedding => %s,"
        " with_hits => true)",
        None if filter_ is None else json.dumps(filter_),
        QUERY,
    )
    return plan["semantic"]["path"], [hit["key"]["id"] for hit in plan["semantic"]["hits"]]


def test_vectors_in_a_column(connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (10,))
    assert create_pipeline(connection, index_type="hnsw") == 10
    assert sorted(ids(connection, BACKFILL)) == list(range(1, 11))
    assert set(work(connection).values()) == {"written"}

    connection.execute("update documents set title = 'changed' where id in (1, 9)")
    connection.execute("update documents set other = 5")
    connection.execute("insert into documents values (11, '2027-01-01', 'in a chunk that is new')")
    with connection.cursor().copy("copy documents (id, at, title) from stdin") as copy:
        copy.write_row([12, "2028-01-01", "in another"])
    connection.execute(
        "insert into documents values (11, '2027-01-01') on conflict (id, at) do update set title = 'in conflict'"
    )
    assert sorted(ids(connection)) == [1, 9, 11, 11, 12]
    assert set(work(connection).values()) <= {"written", "unchanged"}
    assert lacking(connection) == []

    before = value(connection, OUR_TRIGGERS)
    assert value(connection, SWEEP) == 0
    assert (state(connection), value(connection, OUR_TRIGGERS)) == ("running", before)
    assert value(connection, "select coverage from pgembedd.status") == 1
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)
    assert value(connection, OUR_TRIGGERS) == 0
    connection.execute("update documents set title = 'changed without a pipeline'")


def test_chunks_go_with_the_rows_that_drop_chunks_drops(connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (10,))
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    work(connection)
    connection.execute("delete from documents where id = 7; update documents set id = 90 where id = 9")
    work(connection)
    kept = "select distinct id from chunks order by 1"
    assert column(connection, kept) == [1, 2, 3, 4, 5, 6, 8, 10, 90]
    connection.execute("select drop_chunks('documents', older_than => timestamptz '2026-01-05')")
    left = column(connection, "select id from documents order by 1")
    assert 1 not in left
    value(connection, SWEEP)
    assert column(connection, kept) == left
    connection.execute("truncate documents")
    assert column(connection, kept) == []
    call(connection, "drop_pipeline", pipeline="documents", drop_vectors=True)


def test_a_search_is_complete_with_the_index_of_each_chunk(connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (300,))
    create_pipeline(connection, index_type="hnsw", index_when="later")
    work(connection)
    connection.execute("set enable_seqscan = off")  # of so few rows in a chunk
    make_due(connection)
    (statement,) = run_statements(connection, "documents")
    assert "timescaledb.transaction_per_chunk" in statement
    assert index_state(connection) == "valid"
    connection.execute("analyze documents")
    connection.execute("select pgembedd.tick(0)")

    for filter_, condition in ((None, "true"), ({"id": {"$gt": 150}}, "id > 150"), ({"id": {"$lt": 6}}, "id < 6")):
        nearest = f"select id from documents where {condition} order by (embedding <=> %s) + 0, id limit 10"
        path, found = explained(connection, filter_)
        assert found == column(connection, nearest, QUERY)
        assert path == "index" or filter_ is not None
    assert [rows(connection, PARTS, day) for day in (0, 8)] == [[(101, 101, False)], [(99, 101, False)]]
    connection.execute("select drop_chunks('documents', older_than => timestamptz '2026-01-12')")
    ((left, chunks, watched), (fewer, _, unwatched)) = (rows(connection, PARTS, day)[0] for day in (0, 100))
    assert (left, watched, unwatched) == (chunks, True, False)
    assert fewer < chunks < 100


def test_a_table_with_a_pipeline_becomes_a_hypertable(connection: psycopg.Connection) -> None:
    connection.execute("create table plain (id int, at timestamptz, title text, content text, primary key (id, at))")
    connection.execute("insert into plain values (1, '2026-01-01', 'a', 'b')")
    create_pipeline(connection, source="plain")
    work(connection)
    connection.execute("select create_hypertable('plain', 'at', migrate_data => true)")
    value(connection, SWEEP)
    assert state(connection) == "running", reason(connection)
    connection.execute("insert into plain values (2, '2027-01-01', 'a', 'b')")
    connection.execute("update plain set title = 'c' where id = 1")
    assert sorted(ids(connection)) == [1, 2]
    assert work(connection) != {}


@pytest.mark.parametrize("table", [None, "chunks"])
def test_a_model_is_switched_and_reverted(connection: psycopg.Connection, table: str | None) -> None:
    connection.execute(ROWS, (10,))
    create_pipeline(connection, index_type="hnsw", embedding_table=table)
    pin(connection, "documents", "old")
    work(connection)
    begin(connection)
    work_both(connection)
    for function in ("switch_model", "revert_model", "switch_model"):
        call(connection, function, pipeline="documents")
    assert column(connection, "select index from pgembedd.status") == ["valid", "valid"]
    connection.execute("insert into documents values (11, '2026-03-01', 'in a chunk that is new')")
    value(connection, SWEEP)
    assert ids(connection) == [11, 11]
    assert column(connection, "select state from pgembedd.status") == ["running", "running"]


def test_an_altered_hypertable_is_followed(connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (10,))
    create_pipeline(connection)
    work(connection)
    value(connection, SWEEP)
    connection.execute("alter table documents alter title type varchar(100) using title || '!'")
    assert value(connection, SWEEP) == 10
    assert set(work(connection).values()) == {"written"}
    connection.execute("alter table documents rename to papers; alter table papers drop column other")
    value(connection, SWEEP)
    assert state(connection) == "running", reason(connection)
    connection.execute("insert into papers values (11, '2026-09-01', 'in a chunk that is new')")
    connection.execute("update papers set title = 'changed' where id in (1, 11)")
    assert ids(connection) == [11, 1, 11]


def test_what_is_refused(connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (1,))
    chunk = value(connection, CHUNK)
    with refused(f"{chunk} takes part in table inheritance, or is one partition of a table."):
        create_pipeline(connection, source=chunk)
    with refused("enable_always cannot be had on the hypertable public.documents."):
        create_pipeline(connection, enable_always=True)
    with refused("on_update => 'clear' cannot be had on the hypertable public.documents."):
        create_pipeline(connection, on_update="clear")
    create_pipeline(connection, on_update="clear", embedding_table="chunks")
    with refused("enable_always cannot be had on the hypertable public.documents."):
        call(connection, "alter_pipeline", pipeline="documents", enable_always=True)


def test_owners_and_readers_without_other_rights(roles: Roles, database: Database) -> None:
    """A chunk is made with the rights of the table's owner."""
    owner, reader = roles.make("owner"), roles.make("reader")
    with connected(database) as connection:
        connection.execute(f"alter table documents owner to {owner}")
        connection.execute(ROWS, (30,))
        create_pipeline(connection, index_type="hnsw")
        with connect_as(database, owner) as theirs:
            theirs.execute("update documents set title = 'changed' where id = 3")
            theirs.execute("insert into documents values (31, '2028-01-01', 'in a chunk that is new')")
        assert ids(connection) == [3, 31]
        work(connection)
        connection.execute(f"grant select on documents to {reader}; select pgembedd.grant_search('{reader}')")
        connection.execute("alter table documents enable row level security")
        connection.execute("create policy mine on documents using (id < 20)")
        with connect_as(database, reader) as theirs:
            found = "select key from pgembedd.search('documents', null, 100, mode => 'semantic', embedding => %s)"
            assert {key["id"] for key in column(theirs, found, QUERY)} == set(range(1, 20))


def test_a_worker_embeds_and_verify_agrees(database: Database, connection: psycopg.Connection) -> None:
    connection.execute(ROWS, (20,))
    create_pipeline(connection, model=MODEL, dimensions=None, index_type="hnsw")
    with WorkerProcess(database.conninfo):
        await_quiet(connection)
        connection.execute("update documents set title = 'Bake the bread for an hour.' where id = 3")
        await_quiet(connection)
    done = pgembedd("verify", "--all", database=database.conninfo)
    assert (done.code, done.err) == (0, "")
    assert "20 right" in done.out
    found = pgembedd("search", "how to make a loaf", "--json", "-n", "1", database=database.conninfo)
    assert '"id": 3' in found.out, found
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute("update documents set title = 'something else' where id in (1, 19)")
    assert pgembedd("verify", "--all", database=database.conninfo).code != 0
    key = value(
        connection, "select to_jsonb(d) - '{title,content,other,embedding}'::text[] from documents d where id = 3"
    )
    statuses = "select status from pgembedd.row_status('documents', array[%s::jsonb])"
    assert column(connection, statuses, json.dumps(key)) == ["embedded"]
