"""`migrate` behind transactions of others: it stops no writer for long, and does all or nothing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgembedd.database import migration_locks
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.own_version import HEAD
from pgembedd.database.schema_check import check_schema
from pgembedd.errors import PgembeddError
from tests.migration.releases import altered
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import column, create_pipeline, make_documents, value
from tests.support.waiting import PATIENCE_S, eventually

# What a long transaction has done, which a migration waits for.
HOLDERS = {
    "a writer of a table": "insert into documents (id, title) values (1000, 'it''s secret')",
    "a reader of a view": "select * from pgembedd.status",
}
ON_UPDATE = "select tgname from pg_trigger where tgrelid = 'documents'::regclass and tgname like '%update'"


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """A pipeline that lacks a trigger, so that a migration makes it again."""
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("update pgembedd_internal.installation set sql_digest = 'older'")
    connection.execute(f"drop trigger {value(connection, ON_UPDATE)} on documents")
    return connection


@contextmanager
def held(database: Database, statement: str) -> Iterator[tuple[psycopg.Connection, int]]:
    """A transaction that stays open, idle, after a statement; and its process."""
    with database.connect(autocommit=False) as holder:
        holder.execute(statement.encode())
        yield holder, holder.info.backend_pid


@contextmanager
def migrating(conninfo: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "pgembedd", *(arguments or ["migrate"]), "-d", conninfo]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def waits(connection: psycopg.Connection) -> int:
    """How many sessions of this database wait for a lock."""
    return int(
        value(
            connection,
            """select count(*) from pg_stat_activity where datname = current_database()
               and cardinality(pg_blocking_pids(pid)) > 0""",
        )
    )


def write(database: Database) -> None:
    """Write to the table as others do; an error where that is held up for as long as the long transaction lasts."""
    with database.connect(options=f"-c statement_timeout={PATIENCE_S}s") as writer:
        writer.execute(
            "insert into documents (id, title) select coalesce(max(id), 0) + 1, 'x' from documents where id < 1000"
        )


def test_a_migration_waits_a_second_for_a_lock() -> None:
    assert migration_locks.LOCK_TIMEOUT_S <= 1


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["migrate"], ["uninstall", "--yes"]], ids=["up", "down"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_writer_waits_for_a_migration_that_waits(
    database: Database, documents: psycopg.Connection, holder: str, arguments: list[str]
) -> None:
    with held(database, HOLDERS[holder]) as (other, pid), migrating(database.conninfo, *arguments) as process:
        assert process.stderr is not None
        said = json.loads(process.stderr.readline())
        write(database)
        assert said["event"] == "migration_waits"
        assert (said["pid"], said["role"], said["state"]) == (
            pid,
            "postgres",
            "idle in transaction",
        )
        assert "secret" not in said["statement"]
        assert said["statement"].startswith(HOLDERS[holder][:11])
        assert process.poll() is None
        other.rollback()
        assert process.wait(PATIENCE_S) == 0, process.stderr.read()
    if arguments != ["migrate"]:
        assert value(documents, "select to_regnamespace('pgembedd')") is None
    else:
        check_schema(documents)
        assert value(documents, "select state from pgembedd_internal.pipeline") == "running"
    write(database)


@pytest.mark.slow
def test_a_migration_that_is_killed_while_it_waits_leaves_nothing_and_stops_no_writer(
    database: Database, documents: psycopg.Connection
) -> None:
    before = value(documents, "select sql_digest from pgembedd_internal.installation")
    with held(database, HOLDERS["a writer of a table"]):
        with migrating(database.conninfo) as process:
            eventually(lambda: waits(documents) > 0)
            process.kill()
            process.wait()
        write(database)
        eventually(lambda: waits(documents) == 0)
        assert value(documents, "select sql_digest from pgembedd_internal.installation") == before
    migrate(database.conninfo)
    check_schema(documents)


@pytest.mark.slow
def test_several_at_once_take_turns_behind_a_long_transaction(
    database: Database, documents: psycopg.Connection
) -> None:
    with (
        held(database, HOLDERS["a writer of a table"]) as (other, _),
        migrating(database.conninfo) as first,
        migrating(database.conninfo) as second,
    ):
        for process in (first, second):
            assert process.stderr is not None
            assert "migration_waits" in process.stderr.readline()
        write(database)
        other.rollback()
        assert [process.wait(PATIENCE_S) for process in (first, second)] == [0, 0]
    check_schema(documents)


# A version that alters a table which most of our views read.
ALTERS_A_TABLE = {
    "migrations/versions/9999_later.py": lambda _: (
        f"""
from alembic import op

revision, down_revision = "9999", "{HEAD}"


def upgrade() -> None:
    op.execute("alter table pgembedd_internal.pipeline add column later integer")
"""
    )
}
# For each session that waits for the view: how many locks it has on what the view reads.
HELD_WHILE_WAITING = """
    select (select count(*) from pg_locks h where h.pid = w.pid and h.granted and h.mode = 'AccessExclusiveLock'
            and h.relation = 'pgembedd_internal.pipeline'::regclass)
    from pg_locks w where not w.granted and w.relation = 'pgembedd.status'::regclass
"""


@pytest.mark.slow
def test_a_version_that_alters_a_table_waits_for_readers_of_views_without_it(
    database: Database, documents: psycopg.Connection, tmp_path: Path
) -> None:
    """Else the two wait for each other, and the reader is the one that fails."""
    later = altered(tmp_path, ALTERS_A_TABLE)
    waited: list[int] = []

    def waits() -> bool:
        waited.extend(column(documents, HELD_WHILE_WAITING))
        return bool(waited)

    with (
        ThreadPoolExecutor() as pool,
        held(database, "comment on view pgembedd.status is 'a lock on the view alone'") as (holder, _),
    ):
        migrated = pool.submit(later.migrate, database.conninfo)
        eventually(waits)
        holder.rollback()
        migrated.result()
    assert set(waited) == {0}


@pytest.mark.slow
def test_readers_of_views_go_on_under_a_version_that_alters_a_table(
    database: Database, documents: psycopg.Connection, tmp_path: Path
) -> None:
    later, ended = altered(tmp_path, ALTERS_A_TABLE), threading.Event()

    def read(view: str) -> int:
        with database.connect(prepare_threshold=None) as reader:
            for reads in itertools.count(1):
                reader.execute(f"select from pgembedd.{view}".encode())
                if ended.is_set():
                    return reads
        raise AssertionError

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read, view) for view in ("status", "dead_letters", "truncated", "status")]
        try:
            later.migrate(database.conninfo)
        finally:
            ended.set()
        assert all(reader.result() > 1 for reader in readers)


@pytest.mark.parametrize("migration", [migrate, downgrade])
def test_it_gives_up_in_a_sentence_and_changes_nothing(
    database: Database, documents: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, migration: type
) -> None:
    monkeypatch.setattr(migration_locks, "PATIENCE_S", 0.1)
    with held(database, HOLDERS["a writer of a table"]) as (_, pid), pytest.raises(PgembeddError) as caught:
        migration(database.conninfo)
    said = str(caught.value)
    assert said.startswith(
        "The migration gave up after 0 s, and nothing was changed: what it has to lock is used by the "
    )
    assert f"session {pid} of the role postgres, idle in transaction in a transaction of " in said
    assert "with the statement `insert into documents (id, title) values (?, ?)`" in said
    assert value(documents, "select sql_digest from pgembedd_internal.installation") == "older"
    assert value(documents, "select state from pgembedd_internal.pipeline") == "running"


def test_a_statement_that_may_not_be_read_is_left_out(
    roles: Roles, database: Database, documents: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = roles.make("reader")
    monkeypatch.setattr(migration_locks, "PATIENCE_S", 0.1)
    documents.execute(f"grant select on documents to {reader}")
    watch = migration_locks.LockWatch(conninfo_as(database, reader))
    with (
        held(database, "lock table documents") as (_, pid),
        connect_as(database, reader) as waiting,
        watch,
        waiting.transaction(),
    ):
        watch.begin(waiting)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            waiting.execute("select from documents")
    (found,) = watch.holders
    assert (found.pid, found.role, found.statement) == (pid, "postgres", None)
