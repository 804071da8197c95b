"""The index that is built after a load: what tests look at, and how they catch a build in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Database
from tests.support.embedders import MODEL
from tests.support.sql import call, column, create_pipeline, value
from tests.support.waiting import eventually

NAME, ROWS = "documents_embedding_hnsw", 12
BUILDERS = "select pid from pg_stat_progress_create_index where datname = current_database()"


@pytest.fixture
def loaded(connection: psycopg.Connection) -> psycopg.Connection:
    """Rows to be backfilled, and an index to be built after that."""
    connection.execute("create table documents (id int primary key, body text)")
    connection.execute(f"insert into documents select i, 'text ' || i from generate_series(1, {ROWS}) i")
    options = {"content_columns": ["body"], "model": MODEL, "index_when": "later"}
    assert call(connection, "create_pipeline", pipeline="documents", source="documents", **options) == ROWS
    connection.execute(
        "update pgembedd_internal.installation set swept_at = now(), retained_at = now(), indexes_at = now()"
    )
    return connection


@pytest.fixture
def built_up(loaded: psycopg.Connection) -> psycopg.Connection:
    """The same after the backfill, with made-up vectors; the index is due."""
    with loaded.transaction():
        loaded.execute("set local session_replication_role = replica")
        loaded.execute("update documents set embedding = ('[' || id || repeat(',1', 383) || ']')::halfvec")
        loaded.execute("delete from pgmq.q_pgembedd_backfill")
        loaded.execute("set local session_replication_role = origin")  # a test may go on in this transaction
    make_due(loaded)
    return loaded


def put_off(connection: psycopg.Connection, **options: object) -> None:
    """A pipeline whose index comes after the backfill."""
    create_pipeline(connection, **{"index_type": "hnsw", "index_when": "later", **options})


def index_state(connection: psycopg.Connection, name: str = "documents") -> Any:
    """Returns the state of a pipeline's index in status."""
    return value(connection, "select index from pgembedd.status where pipeline = %s", name)


def outstanding(connection: psycopg.Connection) -> list[str]:
    """Pipelines whose index is still to be built."""
    return column(connection, "select name from pgembedd_internal.pipeline where index_due_at is not null order by id")


def make_due(connection: psycopg.Connection, ago: str = "1 second") -> None:
    """Move time on: the deadlines of all indexes have passed."""
    connection.execute("update pgembedd_internal.pipeline set index_due_at = clock_timestamp() - %s::interval", (ago,))


def hnsw_indexes(connection: psycopg.Connection) -> dict[str, bool]:
    """HNSW indexes of this database, and whether each is valid."""
    found = connection.execute(
        "select i.indexrelid::regclass::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid "
        "join pg_am a on a.oid = c.relam where a.amname = 'hnsw' order by 1"
    ).fetchall()
    return dict(found)


def run_statements(connection: psycopg.Connection, name: str | None = None) -> list[str]:
    """Run what is left to do for the index, one statement after the other, as psql's \\gexec does."""
    statements = column(connection, "select pgembedd.index_statements(%s)", name)
    for statement in statements:
        connection.execute(statement)
    return statements


@contextmanager
def old_snapshot(database: Database) -> Iterator[psycopg.Connection]:
    """A transaction with an old snapshot: a concurrent build waits for its end, unfinished."""
    with database.connect(autocommit=False) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")
        yield holder


def await_builder(connection: psycopg.Connection) -> int:
    """Return when a build waits for old snapshots, its index complete but not valid; the process that builds."""
    condition = sql.SQL(BUILDERS + " and phase = 'waiting for old snapshots'")
    found: list[int] = []  # in the same look: at the next one the build may have ended

    def there() -> bool:
        found[:] = [pid for (pid,) in connection.execute(condition).fetchall()]
        return len(found) == 1

    eventually(there)
    return found[0]


def nearest(connection: psycopg.Connection, vector: Sequence[float], limit: int = 3) -> list[int]:
    """Ids of the rows of `documents` nearest to a vector, as an application asks for them."""
    return column(
        connection, "select id from documents order by embedding <=> %s::halfvec limit %s", str(list(vector)), limit
    )
