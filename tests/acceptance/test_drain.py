"""SIGTERM drains a worker inside its grace period; what it does not finish it hands back, with no attempt lost."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, backends, insert, make_documents, missing, stale, waiting
from tests.support.presence import beat
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import end_sessions, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

CLAIM, ROWS = 4, 80


@pytest.fixture
def slow_worker(
    request: pytest.FixtureRequest, database: Database, connection: psycopg.Connection
) -> Iterator[WorkerProcess]:
    """A worker whose model has just begun with the only claim there is, and will take ten minutes.

    Its grace period is a second, or what the test asks for.
    """
    make_documents(connection)
    insert(connection, range(CLAIM))
    grace_s = getattr(request, "param", "1")
    settings = {"MODEL_FAULT": "slow:600", "PGEMBEDD_GRACE_S": grace_s, "PGEMBEDD_CLAIM_SIZE": str(CLAIM)}
    with WorkerProcess(database.conninfo, module="tests.support.faulty_model_worker", **settings) as worker:
        eventually(lambda: [job.unrecorded for job in waiting(connection)] == [1] * CLAIM)
        yield worker


def test_sigterm_finishes_what_is_in_flight_and_claims_no_more(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """The model is held until the drain has begun, and the grace period is as long as it takes."""
    make_documents(connection)
    insert(connection, range(ROWS))
    go_on = tmp_path / "go on"
    settings = {"MODEL_FAULT": f"held:{go_on}", "PGEMBEDD_GRACE_S": "600", "PGEMBEDD_CLAIM_SIZE": str(CLAIM)}
    with WorkerProcess(database.conninfo, module="tests.support.faulty_model_worker", **settings) as worker:
        eventually(lambda: any(job.unrecorded for job in waiting(connection)))
        worker.send(signal.SIGTERM)
        worker.await_event("draining")
        go_on.touch()
        assert worker.wait() == 0
    assert [event["drained"] for event in worker.named("worker_stopped")] == [True]
    left = waiting(connection)
    assert left, "it went on claiming after the signal"
    assert len(left) < ROWS
    assert {(job.read_ct, job.attempts, job.deferrals) for job in left} == {(0, 0, 0)}
    assert missing(connection) == sorted(job.id for job in left)


@pytest.mark.slow
def test_sigterm_hands_back_what_does_not_fit_into_the_grace_period(
    database: Database, connection: psycopg.Connection, slow_worker: WorkerProcess, model: Session
) -> None:
    slow_worker.send(signal.SIGTERM)
    assert slow_worker.wait() == 0, "the model would take ten minutes"
    assert [event["drained"] for event in slow_worker.named("worker_stopped")] == [False]
    left = waiting(connection)
    assert [(job.unrecorded, job.attempts, job.deferrals) for job in left] == [(0, 0, 1)] * CLAIM
    assert value(connection, "select bool_and(vt <= clock_timestamp()) from pgmq.q_pgembedd_fresh")
    with WorkerProcess(database.conninfo):
        await_quiet(connection)
    assert stale(connection, model) == []


@pytest.mark.slow
@pytest.mark.parametrize("slow_worker", ["50"], indirect=True)
def test_a_second_sigterm_ends_at_once(connection: psycopg.Connection, slow_worker: WorkerProcess) -> None:
    slow_worker.send(signal.SIGTERM)
    slow_worker.await_event("draining")
    slow_worker.send(signal.SIGTERM)
    assert slow_worker.wait() == 128 + signal.SIGTERM
    assert [job.unrecorded for job in waiting(connection)] == [1] * CLAIM, "their lease sees to them"


def cut_off(connection: psycopg.Connection) -> None:
    """End the worker's connections until none is left."""
    eventually(lambda: end_sessions(connection, "application_name like 'pgembedd%'") == 0)


@pytest.mark.slow
def test_sigterm_while_the_database_is_away_still_ends_the_worker(
    server: EmbeddedPostgres, database: Database, connection: psycopg.Connection, slow_worker: WorkerProcess
) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(f"alter database {database.name} allow_connections false")
    cut_off(connection)
    slow_worker.await_event("database_away")
    cut_off(connection)  # connections that it was just opening
    slow_worker.send(signal.SIGTERM)
    assert slow_worker.wait() == 0
    assert slow_worker.named("not_handed_back")
    assert "Traceback" not in "".join(slow_worker.lines)


@pytest.mark.slow
def test_a_worker_that_waits_inside_pgmq_drains_as_well(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    settings = {"PGEMBEDD_WAIT": "poll", "PGEMBEDD_POLL_MAX_S": "600", "PGEMBEDD_GRACE_S": "20"}
    with WorkerProcess(database.conninfo, **settings) as worker:
        insert(connection, [1])
        await_quiet(connection)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    assert [event["drained"] for event in worker.named("worker_stopped")] == [True]
    eventually(lambda: backends(connection) == 0)


def await_written(connection: psycopg.Connection, count: int) -> None:
    eventually(lambda: value(connection, "select count(embedding) from documents") >= count)


@pytest.mark.slow
def test_sigterm_at_any_moment_leaves_no_lease_and_no_read_without_its_outcome(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """From the start, over both lanes, to the last rows."""
    make_documents(connection)
    insert(connection, range(10 * ROWS))  # into the fresh lane
    value(connection, "select pgembedd.backfill('documents', true)")
    moments = random.Random(os.environ.get("PGEMBEDD_TEST_SEED", "1")).sample(range(10 * ROWS), 5)
    for written in (0, *sorted(moments)):
        with WorkerProcess(database.conninfo, PGEMBEDD_CLAIM_SIZE=str(CLAIM)) as worker:
            worker.await_event("worker_started")
            await_written(connection, written)
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        assert [event["drained"] for event in worker.named("worker_stopped")] == [True]
        assert {(job.unrecorded, job.attempts) for job in waiting(connection)} <= {(0, 0)}, written
        for queue in ("fresh", "backfill"):
            # A row that the other lane was writing is put off for a moment.
            leased = f"select count(*) from pgmq.q_pgembedd_{queue} where vt > clock_timestamp() "
            deferrals = "and pgembedd_internal._note(message, 'deferrals') = 0"
            assert value(connection, leased + deferrals) == 0, (queue, written)
    with WorkerProcess(database.conninfo):
        await_quiet(connection)
    assert stale(connection, model) == []


@pytest.mark.slow
def test_a_worker_ends_once_nothing_is_left_to_do(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """Nothing of it stays connected, so a database that sleeps while it has no sessions is left to sleep."""
    worker = roles.make("worker")
    connection.execute(f"select pgembedd.grant_worker('{worker}')")
    make_documents(connection)
    connection.execute(
        "select pgembedd.create_pipeline('other', 'documents', array['body'], "
        "model => 'openai:text-embedding-3-small', embedding_column => 'other', index_type => 'none')"
    )
    insert(connection, range(ROWS))
    for _ in range(2):
        ended = pgembedd("run", "--until-idle", "--log-format", "json", database=database.conninfo)
        assert (ended.code, "worker_stopped" in ended.err) == (0, True), ended
        (left,) = (json.loads(line) for line in ended.err.splitlines() if "jobs_left" in line)
        assert (left["pipeline"], left["state"], left["queued"]) == ("other", "unserved", ROWS)
        assert missing(connection) == []
        eventually(lambda: backends(connection) == 0)
    refused = pgembedd("run", "--until-idle", database=conninfo_as(database, worker)).refused(2)
    assert "demand" in refused


def test_without_work_a_worker_that_ends_when_idle_loads_no_model(
    database: Database, connection: psycopg.Connection
) -> None:
    """It does the upkeep, which is due."""
    make_documents(connection)
    connection.execute("update pgembedd_internal.installation set swept_at = '-infinity'")
    ended = pgembedd("run", "--until-idle", database=database.conninfo)
    assert (ended.code, "worker_stopped" in ended.err, "model_loaded" in ended.err) == (0, True, False), ended
    assert value(connection, "select isfinite(swept_at) from pgembedd_internal.installation")


def test_a_worker_ends_only_after_it_has_tried_what_another_could_not_serve(
    database: Database, connection: psycopg.Connection
) -> None:
    """Nothing is demanded while the note of that worker is believed, and this one may have other settings."""
    make_documents(connection)
    insert(connection, range(CLAIM))
    with database.connect() as other:
        beat(other)
        value(other, "select pgembedd_internal.note_unserved(1, 'it has no model')::text")
        connection.execute("update pgembedd_internal.pipeline set unserved_since = clock_timestamp() - interval '3 s'")
        assert value(connection, "select pgembedd.demand()") == 0
        ended = pgembedd("run", "--until-idle", database=database.conninfo)
    assert ended.code == 0, ended
    assert missing(connection) == []


@pytest.mark.slow
def test_a_worker_whose_pipeline_is_renamed_meanwhile_says_so_in_one_sentence(
    database: Database, connection: psycopg.Connection
) -> None:
    make_documents(connection)
    insert(connection, range(ROWS))
    with (
        database.connect() as other,
        other.transaction(),
        WorkerProcess(database.conninfo, "--until-idle", "--pipeline", "documents") as worker,
    ):
        other.execute("lock table documents in access exclusive mode")  # so that it is not idle before
        worker.await_event("worker_started")
        connection.execute("update pgembedd_internal.pipeline set name = 'another'")
        assert worker.wait() == 2
        assert [line for line in worker.lines if "Traceback" in line] == []
        (told,) = [line for line in worker.lines if line.startswith("pgembedd: ")]
        assert 'There is no pipeline "documents"' in told
