"""The command line with unusual outputs, interrupts, and contradictory options."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.forking import start
from tests.support.presence import beat

FULL = Path("/dev/full")


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["doctor"], ["--version"]])
def test_a_full_disk_is_a_sentence(database: Database, arguments: Sequence[str]) -> None:
    with database.connect() as connection:
        connection.execute("create table docs (id int primary key, body text)")
        connection.execute("select pgembedd.create_pipeline('docs', 'docs', array['body'])")
    with FULL.open("w") as full, TemporaryFile("w+") as complaints:
        env = {**os.environ, "DATABASE_URL": database.conninfo}
        code = start("pgembedd", arguments, env, full.fileno(), complaints.fileno()).wait()
        complaints.seek(0)
        assert (code, complaints.read()) == (1, "pgembedd: No space left on device.\n")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["search", "--help"]])
def test_nothing_is_said_where_the_reader_has_left(arguments: Sequence[str]) -> None:
    """As `head` does."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as left, TemporaryFile("w+") as complaints:
        code = start("pgembedd", arguments, dict(os.environ), left.fileno(), complaints.fileno()).wait()
        complaints.seek(0)
        assert (code, complaints.read()) == (1, "")


@pytest.mark.slow
def test_a_pipe_gets_whole_lines_in_any_encoding(database: Database) -> None:
    name = "a_name_of_more_than_twenty_characters"
    with database.connect() as connection:
        connection.execute('create table "größe" (id int primary key, body text)')
        connection.execute("select pgembedd.create_pipeline(%s, '\"größe\"', array['body'])", [name])
        connection.execute(
            "select pgembedd_internal.stop_pipeline(id, 'Die Größe fehlt.') from pgembedd_internal.pipeline"
        )
    done = pgembedd("status", database=database.conninfo, COLUMNS="40", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    header, line, reason = done.out.splitlines()
    assert header.split()[-3:] == ["rows/min", "left", "lag"]
    assert line.startswith(f"{name} stopped")
    assert reason == f"{name}: Die Gr\\xf6\\xdfe fehlt."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--json", "--watch"], "--watch and --json exclude each other."),
        (["verify", "--all", "--seed", "7"], "--seed has nothing to draw"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments: list[str], said: str) -> None:
    done = pgembedd(*arguments, database="host=127.0.0.1 port=1")
    assert done.code == 2
    assert said in done.err


def test_a_second_interrupt_is_no_traceback() -> None:
    """A thread that outlives the command keeps Python waiting, as the model's do."""
    program = """
import threading, signal, sys, pgembedd.cli, click
def work():
    threading.Thread(target=threading.Event().wait).start()
    raise KeyboardInterrupt
pgembedd.cli.cli.main = lambda **_: work()
try:
    pgembedd.cli.main()
finally:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"interrupted\n"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (-signal.SIGINT, b"")


@pytest.mark.slow
def test_the_doctor_says_that_nothing_can_be_written(database: Database) -> None:
    read_only = "-c default_transaction_read_only=on"
    done = pgembedd("doctor", "--quiet", database=database.conninfo, PGOPTIONS=read_only)
    assert (done.code, done.err) == (1, "")
    assert "BAD   server: takes no writes" in done.out
    assert "takes no writes" not in pgembedd("doctor", database=database.conninfo).out


def test_a_worker_that_is_pushed_to_counts_once(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("create table docs (id int primary key, body text)")
        connection.execute("select pgembedd.create_pipeline('docs', 'docs', array['body'])")
    with database.connect() as worker:
        beat(worker, ("claim", "push"))
        # It has no sessions, so it counts for 15 seconds; on a busy machine the command may take longer.
        worker.execute("update pgembedd_internal.worker set answered_at = now() + interval '1 hour'")
        assert "running, 0 jobs waiting, 1 worker\n" in pgembedd("doctor", database=database.conninfo).out
