"""`pgembedd events`: what happens, line by line, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.owners import IMPORTABLE
from tests.support.sql import call, value
from tests.support.waiting import eventually

LISTENING = """
    select count(*) from pg_stat_activity
    where application_name = 'pgembedd events' and query = 'listen pgembedd_events' and state = 'idle'
"""


class Follower:
    """The command as a process; `lines` are what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def interrupted(self) -> tuple[int, str, str]:
        """Exit code, and what else it printed, after a Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextmanager
def following(database: Database, connection: psycopg.Connection, *arguments: str) -> Iterator[Follower]:
    """The command, once it listens."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgembedd", "events", *arguments],
        env={**inherited, "PYTHONPATH": IMPORTABLE, "DATABASE_URL": database.conninfo},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            eventually(lambda: process.poll() is not None or value(connection, LISTENING) == 1)
            yield Follower(process)
        finally:
            process.kill()


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """A pipeline with a name that a terminal must not take for an order."""
    connection.execute("create table documents (id int primary key, body text)")
    call(connection, "create_pipeline", name="documents", source="documents", content_columns=["body"])
    return connection


def test_a_line_an_event_until_ctrl_c(database: Database, documents: psycopg.Connection) -> None:
    with following(database, documents) as follower:
        call(documents, "pause", name="documents")
        documents.execute("select pgembedd._notify_stored(1, 'letters', array['written', 'gone', 'written'], '1.5 s')")
        documents.execute('select pgembedd._notify(\'failed\', 1, \'{"key": "\\u001b[2J two", "attempts": 1}\')')
        lines = [follower.line().split("  ")[1:] for _ in range(3)]
        assert lines == [
            ["documents", "paused\n"],
            ["documents", "stored", "gone=1 lag_s=1.5 queue=letters written=2\n"],
            ["documents", "failed", 'attempts=1 key="\\u001b[2J two"\n'],
        ]
        assert follower.interrupted() == (0, "", "")


def test_filters_and_json(database: Database, documents: psycopg.Connection) -> None:
    options = ("--json", "--event", "resumed", "--event", "paused", "--pipeline", "documents")
    with following(database, documents, *options) as follower:
        documents.execute("select pgembedd._notify('paused', 1, name => 'other')")
        documents.execute("select pgembedd.stop_pipeline(1, 'why')")
        call(documents, "resume", name="documents")
        event = json.loads(follower.line())
        assert (event["event"], event["pipeline"], event["pipeline_id"]) == ("resumed", "documents", 1)
        assert follower.interrupted() == (0, "", "")


def test_a_lost_connection_is_a_gap(database: Database, documents: psycopg.Connection) -> None:
    with following(database, documents, "--event", "paused") as follower:
        documents.execute(LISTENING.replace("count(*)", "pg_terminate_backend(pid, 30000)"))
        assert follower.line().split("  ")[1:] == ["-", "gap\n"]
        call(documents, "pause", name="documents")
        assert "paused" in follower.line()
        code, _, said = follower.interrupted()
        assert code == 0
        assert "database_away" in said
        assert "Traceback" not in said


def test_what_cannot_be_followed(database: Database, empty_database: Database) -> None:
    wrong = pgembedd("events", "--event", "secret", database=database.conninfo)
    assert wrong.code == 2
    assert "There is no event 'secret'" in wrong.err
    assert "dead_letter" in wrong.err
    pgembedd("events", database=empty_database.conninfo).refused(4)
