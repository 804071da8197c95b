"""A database is upgraded under running workers: the last release's, from its wheel, and those of versions to come."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.own_version import HEAD, INTERFACE
from pgembedd.database.schema_check import MIGRATED
from pgembedd.model import Session
from tests.migration.releases import altered, released
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_embedded, await_quiet, insert, make_documents, missing, stale, waiting
from tests.support.sql import rows, value
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.slow

SCHEMA = 4
CHARGES = {"job_failed", "dead_letter", "failure_not_recorded", "suspect_alone", "left_to_lease", "claim_failed"}
COMMANDS = [("status",), ("search", "documents", "x"), ("backfill", "documents"), ("retry",), ("verify",), ("events",)]
COMMENT = {"sql/40_jobs/claim.sql": lambda text: "-- A comment.\n" + text}
FURTHER_PARAMETER = {
    "sql/40_jobs/release.sql": lambda text: text.replace(
        "why text default null\n", "why text default null, note text default ''\n"
    )
}
INTERFACE_RAISED = {
    "sql/40_jobs/interface.sql": lambda text: text.replace(f"n{INTERFACE}", f"n{INTERFACE + 1}"),
}
MIGRATION = {
    "migrations/versions/9999_later.py": lambda _: (
        f"""
from alembic import op

revision, down_revision = "9999", "{HEAD}"


def upgrade() -> None:
    op.execute("alter table pgembedd_internal.installation add column later integer")


def downgrade() -> None:
    op.execute("alter table pgembedd_internal.installation drop column later")
"""
    )
}


NEWER = (
    f"This database has interface {INTERFACE + 1} of pgembedd, newer than this program's {INTERFACE}: upgrade pgembedd."
)
OLDER = (
    f"This database is at pgembedd interface {INTERFACE}, this program needs {INTERFACE + 1}: run `pgembedd migrate`."
)


def charged(*workers: WorkerProcess) -> list[str]:
    """What these workers logged of failed attempts, and of errors that no job is to blame for."""
    return [one["event"] for worker in workers for one in worker.events if one["event"] in CHARGES]


def waits(worker: WorkerProcess) -> list[str]:
    """The reasons for which a worker waits, as its log has them; a statement that a migration hit is only repeated."""
    return [one["why"] for one in worker.named("schema_waits") if one["why"] != MIGRATED]


def doctor(database: Database) -> str:
    """What this version's doctor says."""
    return pgembedd("doctor", database=database.conninfo).out


def drain(worker: WorkerProcess) -> None:
    """Ends a worker, which finishes what it has."""
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


@pytest.mark.release
def test_the_last_release_is_upgraded_under_its_worker(empty_database: Database, model: Session) -> None:
    release, conninfo = released(), empty_database.conninfo
    waits_for_migration = (release.interface, release.head) != (INTERFACE, HEAD)
    release.migrate(conninfo)
    with empty_database.connect() as connection:
        make_documents(connection)
        insert(connection, range(20))
        with release.worker(conninfo) as old, WorkerProcess(conninfo) as new:
            await_embedded(connection, range(20))
            new.await_event("schema_waits" if waits_for_migration else "worker_started")
            insert(connection, range(20, 500))
            assert pgembedd("migrate", database=conninfo).code == 0
            insert(connection, range(500, 520))
            if waits_for_migration:
                new.await_event("schema_fits")
            await_quiet(connection)
            drain(new)
            if release.interface == INTERFACE:
                insert(connection, range(520, 540))  # which the old one does alone
                await_quiet(connection)
                connection.execute("update documents set body = 'another ' || id where id < 10")
                await_quiet(connection)
                drain(old)
            else:
                assert old.wait() == 1  # one of 0.1.0 ends when it calls what is no longer there
            # What one that has ended held is worked after its lease, and charged with nothing.
            assert charged(new) == []
            assert set(charged(old)) <= (set() if release.interface == INTERFACE else {"left_to_lease", "claim_failed"})
        assert (missing(connection), stale(connection, model)) == ([], [])
        assert value(connection, "select count(*) from pgembedd.dead_letters") == 0


def test_pipelines_of_the_last_release_keep_their_definition(empty_database: Database) -> None:
    released().migrate(empty_database.conninfo)
    with empty_database.connect() as connection:
        connection.execute("""
            create table documents (id int primary key, body text);
            select pgembedd.create_pipeline('indexed', 'documents', array['body'], m => 8, ef_construction => 32);
            select pgembedd.create_pipeline('bare', 'documents', array['body'], embedding_column => 'bare',
                                            create_index => false);
            select pgembedd.create_pipeline('chunks', 'documents', array['body'], embedding_table => 'chunks')""")
        assert pgembedd("migrate", database=empty_database.conninfo).code == 0
        assert rows(connection, "select pipeline, index_type, index_options ->> 'm' from pgembedd.pipelines") == [
            ("indexed", "hnsw", "8"),
            ("bare", "none", None),
            ("chunks", "hnsw", None),
        ]
        for name in ("indexed", "bare", "chunks"):
            again = value(connection, "select pgembedd.pipeline_definition(%s)", name)
            assert value(connection, again.removesuffix(")") + ", if_not_exists => true)") == 0


def test_a_worker_of_the_last_release_is_restarted_after_the_migration(
    database: Database, connection: psycopg.Connection
) -> None:
    """A worker of 0.1.0 compares digests: one that is restarted after the migration ends, and says so."""
    release = released()
    make_documents(connection)
    if release.interface is not None:
        with release.worker(database.conninfo) as old:
            insert(connection, range(8))
            await_quiet(connection)
            assert charged(old) == []
    else:
        said = release.run("run", database=database.conninfo)
        assert "run `pgembedd migrate`" in said.refused(SCHEMA) or "upgrade pgembedd" in said.err


def test_another_text_of_a_function_stops_no_worker(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Neither a comment nor a further parameter with a default; in whichever order the two versions come."""
    later = altered(tmp_path, {**COMMENT, **FURTHER_PARAMETER})
    make_documents(connection)
    with WorkerProcess(database.conninfo) as old, later.worker(database.conninfo) as new:
        for worker in (old, new):
            worker.await_event("worker_started")
        insert(connection, range(10))
        await_quiet(connection)
        later.migrate(database.conninfo)
        insert(connection, range(10, 20))
        await_quiet(connection)
        with WorkerProcess(database.conninfo) as restarted:
            drain(old)
            drain(new)
            insert(connection, range(20, 30))
            await_quiet(connection)
            assert [waits(worker) for worker in (old, new, restarted)] == [[], [], []]
            assert charged(old, new, restarted) == []
    assert "schema: its functions are of another version, with which this one works" in doctor(database)


def test_a_worker_waits_for_its_migration_and_works_after_a_later_one(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    conninfo, later = database.conninfo, altered(tmp_path, {**FURTHER_PARAMETER, **MIGRATION})
    make_documents(connection)
    with WorkerProcess(conninfo) as old, later.worker(conninfo) as new:
        new.await_event("schema_waits")
        insert(connection, range(10))
        await_quiet(connection)
        assert not new.named("stored")
        later.migrate(conninfo)
        new.await_event("schema_fits")
        drain(new)
        insert(connection, range(10, 20))
        await_quiet(connection)
        drain(old)
        with WorkerProcess(conninfo) as restarted:
            insert(connection, range(20, 30))
            await_quiet(connection)
            drain(restarted)
            assert (waits(old), waits(restarted), charged(old, new, restarted)) == ([], [], [])
        assert waits(new) == [
            f"This database is at pgembedd schema {HEAD}, this program needs 9999: run `pgembedd migrate`."
        ]
    assert later.run("status", database=conninfo).code == pgembedd("status", database=conninfo).code == 0
    assert "nothing was changed" in pgembedd("migrate", database=conninfo).out
    assert "schema: newer than this version, which works with it: revision 9999" in doctor(database)
    with WorkerProcess(conninfo, command="up") as up:
        insert(connection, range(30, 40))
        await_quiet(connection)
        drain(up)
    connection.execute("select pgembedd.drop_pipeline('documents')")  # which the older one has not touched


def test_one_shot_commands_of_a_later_version_refuse_an_older_database(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    later = altered(tmp_path, MIGRATION)
    make_documents(connection)
    for command in COMMANDS:
        refused = later.run(*command, database=database.conninfo).refused(SCHEMA)
        assert (
            refused
            == f"pgembedd: This database is at pgembedd schema {HEAD}, this program needs 9999: run `pgembedd migrate`."
        )


def test_a_worker_of_another_interface_leaves_all_work_alone(
    database: Database, connection: psycopg.Connection, model: Session, tmp_path: Path
) -> None:
    """Whether it runs while the database gets another interface, or starts after that."""
    conninfo, later = database.conninfo, altered(tmp_path, {**MIGRATION, **INTERFACE_RAISED})
    make_documents(connection)
    insert(connection, range(10))
    with WorkerProcess(conninfo) as old, later.worker(conninfo) as new:
        await_quiet(connection)
        new.await_event("schema_waits")
        assert waits(new) == [OLDER]
        drain(new)
        later.migrate(conninfo)
        insert(connection, range(10, 20))
        old.await_event("schema_waits")
        with WorkerProcess(conninfo) as restarted:
            restarted.await_event("schema_waits")
            assert missing(connection) == [*range(10, 20)]
            assert {(one.read_ct, one.attempts) for one in waiting(connection)} == {(0, 0)}
            with later.worker(conninfo) as upgraded:
                await_quiet(connection)
                drain(upgraded)
                assert charged(old, new, restarted, upgraded) == []
            assert waits(old) == waits(restarted) == [NEWER]
            drain(restarted)
        drain(old)
    assert stale(connection, model) == []
    for command in COMMANDS:
        assert pgembedd(*command, database=conninfo).refused(SCHEMA) == f"pgembedd: {NEWER}"
    for command in [("migrate",), ("up",)]:
        said = pgembedd(*command, database=conninfo).refused(SCHEMA)
        assert said.endswith(f"is at pgembedd schema 9999, newer than this program's {HEAD}: upgrade pgembedd.")
