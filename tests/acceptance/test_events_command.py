"""`pgembedd events`: what happens, line by line, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import psycopg
import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.forking import Process, start
from tests.support.owners import IMPORTABLE
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import call, end_sessions, value
from tests.support.waiting import PATIENCE_S, eventually

LISTENING = """
    select count(*) from pg_stat_activity
    where application_name = 'pgembedd listen' and query = 'listen "pgembedd_events"' and state = 'idle'
"""


@dataclass(frozen=True)
class Follower:
    """The command as a process; `printed` are its standard output and its standard error."""

    process: Process
    printed: tuple[IO[str], IO[str]]

    def line(self) -> str:
        """The next line."""
        return self.printed[0].readline()

    def interrupted(self) -> tuple[int, str, str]:
        """Exit code, and what else it printed, after a Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        out, err = (stream.read() for stream in self.printed)
        return self.process.wait(PATIENCE_S), out, err


@contextmanager
def following(database: Database, connection: psycopg.Connection, *arguments: str) -> Iterator[Follower]:
    """The command, once it listens."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    env = {**inherited, "PYTHONPATH": IMPORTABLE, "DATABASE_URL": database.conninfo}
    (reading, out), (reading_errors, err) = os.pipe(), os.pipe()
    with os.fdopen(reading) as printed, os.fdopen(reading_errors) as complaints:
        try:
            process = start("pgembedd", ["events", *arguments], env, out, err)
        finally:
            os.close(out)
            os.close(err)
        try:
            eventually(lambda: process.poll() is not None or value(connection, LISTENING) == 1)
            yield Follower(process, (printed, complaints))
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """A pipeline with a name that a terminal must not take for an order."""
    connection.execute("create table documents (id int primary key, body text)")
    call(connection, "create_pipeline", pipeline="documents", source="documents", content_columns=["body"])
    return connection


def test_a_line_an_event_until_ctrl_c(database: Database, documents: psycopg.Connection) -> None:
    with following(database, documents) as follower:
        call(documents, "pause", pipeline="documents")
        documents.execute(
            "select pgembedd_internal._notify_stored(1, 'letters', array['written', 'gone', 'written'], '1.5 s')"
        )
        documents.execute(
            'select pgembedd_internal._notify(\'attempt_failed\', 1, \'{"key": "\\u001b[2J two", "attempts": 1}\')'
        )
        lines = [follower.line().split("  ")[1:] for _ in range(3)]
        assert lines == [
            ["documents", "paused\n"],
            ["documents", "stored", "gone=1 lag_s=1.5 queue=letters written=2\n"],
            ["documents", "attempt_failed", 'attempts=1 key="\\u001b[2J two"\n'],
        ]
        assert follower.interrupted() == (0, "", "")


def test_filters_and_json(database: Database, documents: psycopg.Connection) -> None:
    options = ("--json", "--event", "resumed", "--event", "paused", "--pipeline", "documents")
    with following(database, documents, *options) as follower:
        documents.execute("select pgembedd_internal._notify('paused', 1, name => 'other')")
        documents.execute("select pgembedd_internal.stop_pipeline(1, 'why')")
        call(documents, "resume", pipeline="documents")
        event = json.loads(follower.line())
        assert (event["event"], event["pipeline"], event["pipeline_id"]) == ("resumed", "documents", 1)
        assert follower.interrupted() == (0, "", "")


@pytest.mark.slow
def test_a_lost_connection_is_a_gap(database: Database, documents: psycopg.Connection) -> None:
    with following(database, documents, "--event", "paused") as follower:
        assert end_sessions(documents, "application_name = 'pgembedd listen'") == 1
        assert follower.line().split("  ")[1:] == ["-", "gap\n"]
        call(documents, "pause", pipeline="documents")
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
    said = pgembedd("events", "--pipeline", "nope", database=database.conninfo).refused(2)
    assert said == 'pgembedd: There is no pipeline "nope". There is none yet.'


def test_a_role_that_may_not_read_events(roles: Roles, database: Database, documents: psycopg.Connection) -> None:
    role = roles.make("searcher")
    documents.execute("select pgembedd.grant_search(%s)", [role])
    said = pgembedd("events", database=conninfo_as(database, role)).refused(2)
    grant = f"select pgembedd.grant_operator('\"{role}\"')"
    assert said == (
        f'pgembedd: The role "{role}" may not read the events: as the role that ran the migrations, run `{grant}`.'
    )
    documents.execute(grant.encode())
    with following(Database(database.name, conninfo_as(database, role)), documents, "--pipeline", "documents") as one:
        call(documents, "pause", pipeline="documents")
        assert "paused" in one.line()
