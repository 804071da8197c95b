"""A worker builds a deferred index, if its role may; and a build can be cancelled at any time."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.doctor import examine
from pgembedd.loop import lease_heartbeat
from pgembedd.loop.index_builder import BuildLimits, build_index
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_quiet, missing
from tests.support.embedders import Gate, Wrapped, only
from tests.support.indexes import (
    NAME,
    ROWS,
    await_builder,
    built_up,
    hnsw_indexes,
    index_state,
    loaded,
    make_due,
    nearest,
    old_snapshot,
    outstanding,
)
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import call, end_sessions, rows, value
from tests.support.waiting import eventually
from tests.support.worker import PATIENCE_S, worker_thread

__all__ = ["built_up", "loaded"]  # fixtures that live next to what looks at them

LIMITS = BuildLimits(64, 2)
NEVER = threading.Event()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look for an index to build as often as a test can use."""
    monkeypatch.setattr(lease_heartbeat, "BEAT_S", 0.05)


# -- A worker builds it ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_builds_it_after_the_backfill(
    database: Database, loaded: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate))):
        assert gate.reached.wait(PATIENCE_S)
        assert index_state(loaded) == "deferred"
        gate.open()
        eventually(lambda: outstanding(loaded) == [], timeout_s=PATIENCE_S)
    assert missing(loaded) == []
    assert hnsw_indexes(loaded) == {NAME: True}
    eventually(lambda: [event["pipeline"] for event in log if event["event"] == "index_built"] == ["documents"])


def test_the_deadline_does_not_wait_for_the_backfill(
    database: Database, loaded: psycopg.Connection, model: Session
) -> None:
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate))):
        assert gate.reached.wait(PATIENCE_S)
        make_due(loaded)
        eventually(lambda: outstanding(loaded) == [], timeout_s=PATIENCE_S)
        assert len(missing(loaded)) == ROWS, "all are still to be embedded"
        gate.open()
        await_quiet(loaded)
    assert missing(loaded) == []


def test_a_worker_of_least_privilege_leaves_it(
    roles: Roles, database: Database, built_up: psycopg.Connection, model: Session
) -> None:
    worker = roles.make("worker", "in role pgembedd_worker")
    with worker_thread(conninfo_as(database, worker), only(Wrapped(model))):
        eventually(lambda: rows(built_up, "select tasks from pgembedd.workers()") == [(["claim", "embed"],)])
        built_up.execute("insert into documents values (99, 'a fresh write')")
        await_quiet(built_up)
    assert hnsw_indexes(built_up) == {}
    assert index_state(built_up) == "due"
    make_due(built_up, "1 hour")
    assert ("bad", "pgembedd index documents") in doctors_findings(built_up)


def test_a_worker_in_the_role_of_the_tables_owner_builds_it(
    roles: Roles, database: Database, built_up: psycopg.Connection, model: Session
) -> None:
    owner = roles.make("owner")
    built_up.execute(f"alter table documents owner to {owner}; grant create on schema public to {owner}")
    worker = roles.make("worker", f"in role {owner}")
    for schema in ("pgembedd", "pgembedd_internal", "pgmq"):
        built_up.execute(f"grant usage, create on schema {schema} to {worker}")
        for kind in ("tables", "functions", "sequences"):
            built_up.execute(f"grant all on all {kind} in schema {schema} to {worker}")
    with worker_thread(conninfo_as(database, worker), only(Wrapped(model))):
        eventually(lambda: outstanding(built_up) == [], timeout_s=PATIENCE_S)
    assert value(built_up, f"select relowner::regrole::text from pg_class where relname = '{NAME}'") == owner


def test_a_worker_may_be_told_not_to(database: Database, built_up: psycopg.Connection, model: Session) -> None:
    with worker_thread(database, only(Wrapped(model)), index_memory_mb=0):
        built_up.execute("insert into documents values (99, 'a fresh write')")
        await_quiet(built_up)
    assert index_state(built_up) == "due"


def doctors_findings(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Level and remedy of what the doctor says about the pipeline."""
    findings = examine(connection, Path.cwd())
    return [(finding.level, finding.remedy) for finding in findings if finding.about == 'pipeline "documents"']


# -- Meanwhile ---------------------------------------------------------------------------------------------


def test_a_search_is_right_before_during_and_after(database: Database, built_up: psycopg.Connection) -> None:
    question = [7.0] + [1.0] * 383
    exact = nearest(built_up, question)
    assert exact[0] == 7
    with database.connect() as builder, old_snapshot(database) as holder:
        thread = threading.Thread(target=build_index, args=(builder, "documents", LIMITS, NEVER))
        thread.start()
        await_builder(built_up)
        assert nearest(built_up, question) == exact
        built_up.execute("insert into documents (id, embedding) select 100, embedding from documents where id = 7")
        assert set(nearest(built_up, question, 2)) == {7, 100}
        holder.rollback()
        thread.join(PATIENCE_S)
    built_up.execute("set enable_seqscan = off")
    plan = built_up.execute(
        "explain select id from documents order by embedding <=> %s::halfvec limit 2", [str(question)]
    ).fetchall()
    assert any(NAME in line for (line,) in plan)
    assert set(nearest(built_up, question, 2)) == {7, 100}


def test_one_at_a_time(database: Database, built_up: psycopg.Connection) -> None:
    with database.connect() as first, database.connect() as second:
        first.execute("select pgembedd_internal._start_index_build()")
        assert build_index(second, "documents", LIMITS, NEVER) is False
        first.execute("select pgembedd_internal._end_index_build()")
        assert build_index(second, "documents", LIMITS, NEVER) is True
        assert build_index(first, "documents", LIMITS, NEVER) is True, "the lock was given back; nothing is left to do"
    assert hnsw_indexes(built_up) == {NAME: True}


def test_the_turn_of_a_session_ends_with_it(database: Database, built_up: psycopg.Connection) -> None:
    with database.connect() as first:
        first.execute("select pgembedd_internal._start_index_build()")
        pid = first.info.backend_pid
    eventually(lambda: built_up.execute("select from pg_stat_activity where pid = %s", [pid]).rowcount == 0)
    assert build_index(built_up, "documents", LIMITS, NEVER) is True


def test_several_workers_build_it_once(
    database: Database, built_up: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    with worker_thread(database, only(Wrapped(model))), worker_thread(database, only(Wrapped(model))):
        eventually(lambda: outstanding(built_up) == [], timeout_s=PATIENCE_S)
    assert hnsw_indexes(built_up) == {NAME: True}
    assert [event for event in log if event["event"] == "index_failed"] == []


# -- Broken off --------------------------------------------------------------------------------------------


def test_a_stop_ends_the_build_and_leaves_nothing_behind(
    database: Database, built_up: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    with old_snapshot(database):
        with worker_thread(database, only(Wrapped(model))):
            await_builder(built_up)
            assert hnsw_indexes(built_up) == {NAME: False}
        eventually(lambda: hnsw_indexes(built_up) == {})
    told = ["index_building", "index_cancelled"]
    eventually(lambda: [event["event"] for event in log if event["event"].startswith("index")] == told)
    assert index_state(built_up) == "due"


@pytest.mark.slow
def test_a_build_whose_backend_is_killed_is_done_again(
    database: Database, built_up: psycopg.Connection, model: Session
) -> None:
    with worker_thread(database, only(Wrapped(model))):
        with old_snapshot(database):
            builder = await_builder(built_up)
            assert end_sessions(built_up, f"pid = {builder}") == 1
            eventually(lambda: builder != await_builder(built_up))
        eventually(lambda: outstanding(built_up) == [], timeout_s=PATIENCE_S)
    assert hnsw_indexes(built_up) == {NAME: True}


def test_the_pipeline_is_dropped_in_the_middle(
    database: Database, built_up: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    with old_snapshot(database), worker_thread(database, only(Wrapped(model))):
        await_builder(built_up)
        call(built_up, "drop_pipeline", pipeline="documents")
        eventually(lambda: any(event["event"] == "index_failed" for event in log))
        assert hnsw_indexes(built_up) == {}


def test_a_build_that_fails_is_put_off(
    database: Database, built_up: psycopg.Connection, model: Session, log: list[EventDict]
) -> None:
    built_up.execute(f"create view {NAME} as select 1")  # takes the name that was planned
    with worker_thread(database, only(Wrapped(model))):
        eventually(lambda: any(event["event"] == "index_failed" for event in log))
        built_up.execute("insert into documents values (99, 'a fresh write')")
        await_quiet(built_up)
    (failed,) = [event for event in log if event["event"] == "index_failed"]
    assert (failed["sqlstate"], failed["retry_in_s"]) == ("42P07", 60.0)
