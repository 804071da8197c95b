"""Builds of a deferred index: by the command, and by workers that are killed during a build."""

from __future__ import annotations

import json
import signal

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.indexes import (
    NAME,
    await_builder,
    built_up,
    hnsw_indexes,
    index_state,
    loaded,
    make_due,
    old_snapshot,
    outstanding,
)
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.sql import end_sessions
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, WorkerProcess

__all__ = ["built_up", "loaded"]  # fixtures that live next to what looks at them


@pytest.mark.slow
def test_the_index_is_built_by_hand(database: Database, built_up: psycopg.Connection) -> None:
    shown = pgembedd("status", database=database.conninfo).out
    assert "documents: its index is due" in shown
    (line,) = pgembedd("status", "--json", database=database.conninfo).out.splitlines()
    assert json.loads(line)["index"] == "due"
    done = pgembedd("index", "documents", "--index-memory-mb", "20", database=database.conninfo)
    assert (done.code, done.err) == (0, "")
    assert "documents: built in" in done.out
    assert hnsw_indexes(built_up) == {NAME: True}
    assert outstanding(built_up) == []
    assert "is valid" in pgembedd("index", "documents", database=database.conninfo).out
    assert "its index" not in pgembedd("status", database=database.conninfo).out


@pytest.mark.slow
def test_an_index_that_was_dropped_is_told_of_and_built_again(database: Database, built_up: psycopg.Connection) -> None:
    assert pgembedd("index", "documents", database=database.conninfo).code == 0
    built_up.execute(f"drop index {NAME}".encode())
    assert "documents: its index is dropped" in pgembedd("status", database=database.conninfo).out
    said = pgembedd("doctor", database=database.conninfo).out
    assert "an index of it was dropped; searches read the whole table" in " ".join(said.split())
    assert "built in" in pgembedd("index", "documents", database=database.conninfo).out
    assert hnsw_indexes(built_up) == {NAME: True}


def test_without_a_name_all_that_is_outstanding_is_built(database: Database, loaded: psycopg.Connection) -> None:
    assert "documents: built in" in pgembedd("index", database=database.conninfo).out
    assert index_state(loaded) == "valid"
    assert "No index is outstanding." in pgembedd("index", database=database.conninfo).out


def test_what_stands_in_the_way_is_a_sentence(
    server: EmbeddedPostgres, database: Database, built_up: psycopg.Connection
) -> None:
    assert "no pipeline" in pgembedd("index", "nope", database=database.conninfo).refused(2)
    built_up.execute("select pgembedd_internal._start_index_build()")
    assert "try again" in pgembedd("index", "documents", database=database.conninfo).refused(1)
    with temporary_roles(server) as roles:
        worker = roles.make("worker", "in role pgembedd_worker")
        said = pgembedd("index", "documents", database=conninfo_as(database, worker)).refused(2)
        assert "permission denied" in said
    assert hnsw_indexes(built_up) == {}


def test_a_worker_that_is_told_to_stop_does_not_wait_for_its_build(
    database: Database, built_up: psycopg.Connection
) -> None:
    with old_snapshot(database):
        with WorkerProcess(database.conninfo) as worker:
            await_builder(built_up)
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        # Where its process ended before the index was dropped, the next build drops it.
        eventually(lambda: index_state(built_up) in ("due", "invalid"))


def test_the_build_of_a_killed_worker_is_finished(database: Database, built_up: psycopg.Connection) -> None:
    """Postgres goes on with it; the next worker finds it valid."""
    with old_snapshot(database):
        with WorkerProcess(database.conninfo) as worker:
            await_builder(built_up)
            worker.kill()
        assert index_state(built_up) == "building"
    eventually(lambda: hnsw_indexes(built_up) == {NAME: True})
    with WorkerProcess(database.conninfo) as worker:
        eventually(lambda: outstanding(built_up) == [], timeout_s=PATIENCE_S)
        assert worker.named("index_building") == []


def test_a_build_that_died_with_the_server_is_done_again(database: Database, built_up: psycopg.Connection) -> None:
    """A crash leaves the same as a killed backend: an index that is not valid."""
    with old_snapshot(database), WorkerProcess(database.conninfo) as worker:
        builder = await_builder(built_up)
        worker.kill()
        assert end_sessions(built_up, f"pid = {builder}") == 1
        eventually(lambda: index_state(built_up) == "invalid")
    make_due(built_up)
    with WorkerProcess(database.conninfo) as worker:
        worker.await_event("index_built")
    assert hnsw_indexes(built_up) == {NAME: True}
