"""The extension pgmq before 1.6, whose queues are part of it: its role is used all the same, and each surface tells."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.doctor import Finding, examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ConfigurationError
from tests.support.command import pgembedd
from tests.support.databases import Database, administrator, fresh_database
from tests.support.pgmq_extension import OLD, OLDEST, write_extension
from tests.support.postgres_versions import EMBEDDED, VERSIONS, binaries, running_version
from tests.support.roles import connect_as, conninfo_as, temporary_roles
from tests.support.sql import connected, create_pipeline, make_documents, rows, value, work

IN_EXTENSION = "select count(*) from pg_depend where deptype = 'e' and objid::regclass::text ~ 'q_pgembedd_[a-z]*$'"
TOO_OLD = "1.4.3"
EXTENSION = "select extversion from pg_extension where extname = 'pgmq'"
RUNNER = "select pgembedd_internal._runner()::text"


@pytest.fixture(scope="module", params=[(major, OLDEST) for major in VERSIONS] + [(EMBEDDED, OLD)], ids=repr)
def old_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """A server of each version that offers pgmq 1.4.4, and one that offers 1.5.1."""
    major, version = request.param
    with running_version(binaries(major), lambda root: write_extension(root / "share", version)) as server:
        yield server


@pytest.fixture
def old_database(old_server: EmbeddedPostgres) -> Iterator[Database]:
    with fresh_database(old_server) as database:
        yield database
    with administrator(old_server) as admin:
        for role in ("pgembedd", "pgembedd_worker"):
            admin.execute(f"drop role if exists {role}".encode())


def findings(conninfo: str) -> list[Finding]:
    """What the doctor finds wrong with rights and pgmq."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = examine(connection, Path("/"))
        return [each for each in found if each.about in ("rights", "pgmq", "queue") and each.level != "ok"]


@pytest.mark.slow
def test_a_superusers_migrate_gives_the_functions_to_the_role(
    old_server: EmbeddedPostgres, old_database: Database
) -> None:
    migrate(old_database.conninfo)
    assert findings(old_database.conninfo) == []
    with connected(old_database) as connection:
        assert (value(connection, RUNNER), value(connection, IN_EXTENSION)) == ("pgembedd", 2)
        make_documents(connection, 2)
        create_pipeline(connection)
        assert len(work(connection)) == 2
        dump = [str(old_server.bin_dir / "pg_dump"), "--format=custom", old_database.conninfo]
        dumped = subprocess.run(dump, capture_output=True, check=True).stdout
        with fresh_database(old_server) as copy:
            restore = [str(old_server.bin_dir / "pg_restore"), "-d", copy.conninfo]
            told = subprocess.run(restore, input=dumped, capture_output=True).stderr.decode()
            # Before 1.5 the queue is part of the extension, and its sequence with pgmq's grant to pg_monitor is not.
            errors = [line for line in told.splitlines() if " ERROR: " in line]
            assert [each for each in errors if "_msg_id_seq" not in each] == []
            assert errors == [] or value(connection, EXTENSION) == OLDEST
            with connected(copy) as restored:
                restored.execute("insert into documents values (3, 'x')")
                migrate(copy.conninfo)
                assert findings(copy.conninfo) == []
                assert work(restored) == {3: "written"}
        for queue in ("pgembedd_fresh", "pgembedd_backfill"):
            connection.execute(f"select pgmq.drop_queue('{queue}'); select pgmq.create('{queue}')".encode())
        connection.execute("select pgembedd.tick(0, 0)")
        connection.execute("insert into documents values (4, 'x')")
        assert 4 in work(connection)
        connection.execute("alter extension pgmq update to '1.6.0'")
        connection.execute("insert into documents values (5, 'x')")
        assert work(connection) == {5: "written"}
        migrate(old_database.conninfo)
        assert (value(connection, RUNNER), value(connection, IN_EXTENSION)) == ("pgembedd", 0)
    downgrade(old_database.conninfo)


@pytest.mark.slow
@pytest.mark.parametrize("attributes", ["", "createrole"])
def test_what_the_doctor_tells_another_role_works(
    old_server: EmbeddedPostgres, old_database: Database, attributes: str
) -> None:
    """At each step what it says an administrator runs is run, and nothing else."""
    with temporary_roles(old_server) as roles:
        with fresh_database(old_server) as database, database.connect() as admin:
            owner = roles.make("owner", attributes)
            admin.execute(f"alter database {database.name} owner to {owner}".encode())
            admin.execute("create extension vector; create extension dblink; create extension pgmq")
            conninfo = conninfo_as(database, owner)
            run_remedies(admin, findings(conninfo))
            assert [each for each in findings(conninfo) if "may not create roles" not in each.text] == []
            told = pgembedd("migrate", database=conninfo).out
            assert value(admin, RUNNER) == owner
            (finding,) = findings(conninfo)
            assert f"note: {finding.text}. {finding.remedy}" in told
            run_remedies(admin, [finding])
            migrate(conninfo)
            assert value(admin, RUNNER) == "pgembedd"
            assert findings(conninfo) == []
            with connect_as(database, owner) as connection:
                make_documents(connection, 2)
                assert create_pipeline(connection) == 2
                assert rows(connection, "select reason from pgembedd.status") == [(None,)]
        with administrator(old_server) as admin:
            admin.execute("drop role pgembedd; drop role if exists pgembedd_worker")


def run_remedies(admin: psycopg.Connection, found: list[Finding]) -> None:
    """Runs what an administrator is asked to run for what is wrong, or noted after a migration."""
    for finding in found:
        statements = finding.remedy.removeprefix("As an administrator: ").partition(" Then ")[0]
        if "createrole" not in statements:
            admin.execute(statements.encode())


@pytest.mark.slow
@pytest.mark.parametrize("major", [15, 18])
def test_one_that_is_too_old_is_refused_by_all_in_the_same_words(major: int) -> None:
    """What is offered is newer or not; the remedy works. One that is offered only is left alone."""
    with running_version(binaries(major), lambda root: write_extension(root / "share", TOO_OLD)) as server:
        with fresh_database(server) as database, database.connect() as admin:
            admin.execute("create extension vector; create extension pgmq; select pgmq.create('pgembedd_fresh')")
            (finding,) = findings(database.conninfo)
            assert (finding.level, finding.about) == ("bad", "pgmq")
            with pytest.raises(ConfigurationError) as caught:
                migrate(database.conninfo)
            assert str(caught.value) == f"pgmq {finding.text}. {finding.remedy} Then run `pgembedd migrate` again."
            admin.execute(finding.remedy.removeprefix("As an administrator: ").encode())
            migrate(database.conninfo)
            assert findings(database.conninfo) == []
            assert value(admin, RUNNER) == "pgembedd"
        with fresh_database(server) as database, database.connect() as admin:
            assert [each.remedy for each in findings(database.conninfo)] == ["pgembedd migrate"]
            migrate(database.conninfo)
            assert value(admin, "select pgmq_install from pgembedd_internal.installation") == "sql"
