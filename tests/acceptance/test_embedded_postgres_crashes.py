"""The embedded server after the death of processes: no server stays behind, and no start is prevented."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.embedded_postgres.account import account_for
from tests.support.databases import initialized
from tests.support.owners import other_process
from tests.support.waiting import eventually

on_linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="by a signal that only Linux sends")


def processes_of(data_dir: Path) -> list[int]:
    """Returns the processes whose current directory is the cluster: postmaster and backends."""
    cluster = (data_dir / "cluster").resolve()
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if entry.readlink() == cluster:
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_the_server_ends_with_an_owner_that_was_killed(directory: Path) -> None:
    server = EmbeddedPostgres(initialized(directory / "data"), fsync=False)
    with other_process(server.data_dir) as other:
        assert server.running()
        other.process.kill()
        other.process.wait()
        eventually(lambda: server.pid is None)
    eventually(lambda: not processes_of(server.data_dir))
    with server:  # and nothing is in the way of the next one
        assert server.owned


@pytest.mark.slow
def test_a_child_that_outlives_its_owner_does_not_keep_the_server(directory: Path) -> None:
    server = EmbeddedPostgres(initialized(directory / "data"), fsync=False)
    with other_process(server.data_dir, "fork") as other:
        group = other.process.pid
        other.process.kill()
        other.process.wait()
        eventually(lambda: server.pid is None)
        for child in _children_called("tests.support.postgres_owner", server.data_dir):
            os.kill(child, signal.SIGKILL)
    assert group != os.getpid()


def _children_called(module: str, data_dir: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if module.encode() in arguments and os.fsencode(data_dir) in arguments:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
@on_linux
def test_the_server_ends_with_its_supervisor(directory: Path) -> None:
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False) as server:
        assert server.pid is not None
        status = Path(f"/proc/{server.pid}/stat").read_text()
        os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
        eventually(lambda: server.pid is None)
        assert not server.owned
        server.start()
        assert server.owned


@pytest.mark.slow
def test_an_interrupt_at_the_terminal_is_the_owners_alone(directory: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    ignoring: dict[str, Any] = {"start_new_session": True, "preexec_fn": ignore}
    with other_process(initialized(directory / "data"), **ignoring) as other:
        os.killpg(other.process.pid, signal.SIGINT)
        with psycopg.connect(other.facts["conninfo"]) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.slow
def test_what_was_committed_survives_a_kill(directory: Path) -> None:
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False) as server:
        connection = psycopg.connect(server.conninfo(), autocommit=True)
        connection.execute("create table kept (id int)")
        connection.execute("insert into kept select generate_series(1, 1000)")
        # A backend that computes does not notice by itself that the postmaster is gone. Should kill() fail to
        # end it, the time limit does, so that no test run leaves it spinning.
        connection.execute("set statement_timeout = '1min'")
        connection.pgconn.send_query(b"do 'begin loop end loop; end'")
        killed = server.pid
        server.kill()
        connection.close()
        assert not server.running()
        assert not processes_of(server.data_dir)
        server.start()
        assert server.pid != killed
        with psycopg.connect(server.conninfo()) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (1000,)


def test_a_postmaster_that_dies_by_itself_is_started_again(directory: Path) -> None:
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False) as server:
        busy = psycopg.connect(server.conninfo())  # a backend that has to notice
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: server.pid is None)
        server.start()
        assert server.owned
        with pytest.raises(psycopg.OperationalError), busy:
            busy.execute("select 1")


@pytest.mark.slow
def test_a_stale_pid_file_is_no_obstacle(directory: Path) -> None:
    server = EmbeddedPostgres(initialized(directory / "data"), fsync=False)
    pid_file = directory / "data" / "cluster" / "postmaster.pid"
    # Postgres itself fears only a living process of the same user; the kernel gives no process the last number.
    same_user = account_for(directory / "none").popen_options
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **same_user) as stranger:
        for pid in (stranger.pid, os.getpid(), 1, 2**22 + 7):
            with server:
                assert server.owned
                rest = pid_file.read_text().partition("\n")[2]
                server.kill()
            pid_file.write_text(f"{pid}\n{rest}")
            assert not server.running()
        with server:
            assert server.running()
        stranger.communicate()


@pytest.mark.slow
def test_half_a_cluster_is_begun_again(directory: Path) -> None:
    half = directory / "data" / "cluster.new-abc"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory / "data", fsync=False) as server:
        assert server.running()
    assert not half.exists()
