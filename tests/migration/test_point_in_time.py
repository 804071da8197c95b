"""A base backup and its WAL, replayed to a point in time: rows, vectors and queues are of that point."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgembedd.database.schema_check import check_schema
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.home import write_owned
from pgembedd.embedded_postgres.installation import run_program
from pgembedd.embedded_postgres.ports import candidates, free_port
from tests.faults.pair import Node
from tests.support.command import pgembedd
from tests.support.databases import Database, open_directory
from tests.support.postgres_versions import opened_version
from tests.support.sql import column, connected, create_pipeline, make_documents, value, work
from tests.support.waiting import eventually

TARGET = "before_the_mistake"


def made_folder(folder: Path) -> Path:
    """A folder that the server may write to."""
    account = account_for(folder)
    folder.mkdir(mode=0o700)
    account.own(folder)
    return folder


@contextmanager
def archiving_server() -> Iterator[tuple[EmbeddedPostgres, Path, Path, Sequence[str]]]:
    """A server that archives its WAL, the archive, a folder for a copy, and what its version is launched with."""
    with open_directory() as folder, opened_version() as arguments:
        archive, copy = made_folder(folder / "archive"), made_folder(folder / "copy")
        settings = {"archive_mode": "on", "archive_command": f"cp %p {shlex.quote(str(archive))}/%f"}
        with EmbeddedPostgres(folder / "postgres", fsync=False, settings=settings, **arguments) as server:
            yield server, archive, copy, arguments.get("launcher", ())


def recovered(server: EmbeddedPostgres, archive: Path, copy: Path, launcher: Sequence[str]) -> tuple[Node, str]:
    """The copy as a server of its own, which replays the archive up to the target, and its address."""
    settings = {
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_name": TARGET,
        "recovery_target_action": "promote",
        "archive_mode": "off",
    }
    text = "".join(f"{name} = '{text}'\n" for name, text in settings.items())
    auto = copy / "postgresql.auto.conf"
    write_owned(auto, auto.read_text(encoding="utf-8") + text, account_for(copy))
    write_owned(copy / "recovery.signal", "", account_for(copy))
    port = next(port for port in candidates(None, copy) if port != server.port and free_port(port))
    return Node(copy, port, server.bin_dir, launcher), make_conninfo(server.conninfo(), port=port)


def is_promoted(conninfo: str) -> bool:
    try:
        with psycopg.connect(conninfo) as connection:
            return not value(connection, "select pg_is_in_recovery()")
    except psycopg.OperationalError:
        return False


@pytest.mark.slow
def test_a_recovery_to_a_point_has_the_queues_of_that_point() -> None:
    with archiving_server() as (server, archive, copy, launcher):
        assert pgembedd("migrate", database=server.conninfo()).code == 0
        with connected(Database("postgres", server.conninfo())) as connection:
            make_documents(connection, 3)
            create_pipeline(connection)
            work(connection)
            backup = [str(server.bin_dir / "pg_basebackup"), "-D", str(copy), "-d", server.conninfo(), "-c", "fast"]
            done = run_program([*backup, "--no-sync"], account_for(copy))
            assert done.returncode == 0, done.stdout
            connection.execute("update documents set title = 'changed since' where id = 2")
            connection.execute("insert into documents (id, title) values (4, 'new since')")
            connection.execute("select pg_create_restore_point(%s)", [TARGET])
            connection.execute("delete from documents")
            segment = value(connection, "select pg_walfile_name(pg_switch_wal())")
            eventually(lambda: (archive / str(segment)).exists())

        node, conninfo = recovered(server, archive, copy, launcher)
        try:
            eventually(lambda: is_promoted(conninfo))
            with connected(Database("postgres", conninfo)) as connection:
                check_schema(connection)
                assert column(connection, "select id from documents order by id") == [1, 2, 3, 4]
                assert value(connection, "select queued from pgembedd.status") == 2
                for table in ("worker", "embed_request"):
                    assert value(connection, f"select count(*) from pgembedd_internal.{table}") == 0
                assert work(connection) == {2: "written", 4: "written"}
                connection.execute("update documents set title = 'and on' where id = 1")
                assert work(connection) == {1: "written"}
            assert pgembedd("migrate", database=conninfo).code == 0
        finally:
            node.kill()
