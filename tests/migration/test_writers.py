"""Writers go on while a database of the last release is migrated: no statement fails, and no change is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.database.queries import query
from tests.migration.releases import released
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import column, value

pytestmark = pytest.mark.slow

TABLES = """
    create table rows (id int primary key, body text);
    create table chunks (id int primary key, body text);
    create table parts (id int, part int default 1, body text, primary key (id, part)) partition by list (part);
    create table parts_1 partition of parts for values in (1);
"""
# By position, as the last release has another name for the first parameter.
PIPELINES = """
    select pgembedd.create_pipeline('rows', 'rows', array['body'], on_update => 'clear');
    select pgembedd.create_pipeline('chunks', 'chunks', array['body'], embedding_table => 'embeddings',
                                    on_update => 'clear');
    select pgembedd.create_pipeline('parts', 'parts', array['body'])
"""
STATEMENTS = {
    "rows": "insert into rows (id, body) values (%(id)s, 'text')",
    "chunks": "insert into chunks (id, body) values (%(id)s, 'text')",
    "parts": "insert into parts (id, body) values (%(id)s, 'text')",
    "a partition": "insert into parts_1 (id, body) values (%(id)s, 'text')",
    # In one order, as two of them would deadlock by themselves.
    "an update": (
        "update rows r set body = r.body || 'x' "
        "from (select o.id from rows o where o.id < 0 order by o.id for update) o where r.id = o.id"
    ),
    "an update of chunks": "update chunks set body = body || 'x' where id = -1",
    "a deletion": "with gone as (delete from chunks where id = - %(id)s returning 1) select count(*) from gone",
}
QUEUED = """
    select count(distinct q.message -> 'id')
    from (select message from pgmq.q_pgembedd_fresh union all select message from pgmq.q_pgembedd_backfill
          union all select jsonb_build_object('pipeline', pipeline_id, 'id', key) from pgembedd_internal.missed) q
    join pgembedd_internal.pipeline p on p.id = (q.message ->> 'pipeline')::integer where p.name = %s
"""


def written(database: Database, statement: str, ids: Iterator[int], ended: threading.Event) -> int:
    """How many statements one writer made until the end of the migration; the error of one that failed."""
    with database.connect() as writer:
        for count in itertools.count(1):
            writer.execute(statement.encode(), {"id": next(ids)})
            if ended.is_set():
                return count
    raise AssertionError


def test_no_writer_fails_and_no_change_is_lost(empty_database: Database) -> None:
    released().migrate(empty_database.conninfo)
    ids, ended = itertools.count(1), threading.Event()
    with empty_database.connect() as connection, ThreadPoolExecutor(2 * len(STATEMENTS)) as pool:
        connection.execute(TABLES)
        connection.execute(PIPELINES)
        for table in ("rows", "chunks"):
            connection.execute(f"insert into {table} select -i, 'text' from generate_series(1, 100) i".encode())
        writers = [pool.submit(written, empty_database, one, ids, ended) for one in [*STATEMENTS.values()] * 2]
        try:
            migrate(empty_database.conninfo)
        finally:
            ended.set()
        assert all(writer.result() > 1 for writer in writers)
        for table in ("rows", "chunks", "parts"):
            there = value(connection, f"select count(*) from {table}")
            assert value(connection, QUEUED, table) >= there


def test_a_migrator_that_may_not_lock_a_table_leaves_it_to_its_writers(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """The statements of locks name only what the role may lock; else the migration would end in a refusal."""
    connection.execute(TABLES)
    connection.execute("select pgembedd.create_pipeline('rows', 'rows', array['body'])")
    stranger = roles.make("stranger")
    with connect_as(database, stranger) as other:
        assert [one for one in column(other, query("lock_relations")) if "share row" in one] == []
    assert "lock table rows in share row exclusive mode;" in column(connection, query("lock_relations"))
