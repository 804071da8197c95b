"""A claim belongs to one worker for as long as that worker lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.records import Due
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import Sessions
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.lease_heartbeat import extend_leases
from pgembedd.model import Session
from tests.loop.test_observer import Ear
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, stale, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.schemas import without
from tests.support.sql import FRESH, claim, extend, fail, let_leases_run_out, release, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk, worker_thread

LEASE_S = 60  # no machine is so busy that a heartbeat comes later


def lease_end_s(connection: psycopg.Connection) -> float:
    """Returns the end of the only job's lease, in seconds since the epoch."""
    return float(value(connection, "select extract(epoch from vt)::float8 from pgmq.q_pgembedd_fresh"))


def lease_left_s(connection: psycopg.Connection) -> float:
    """Returns what is left of the only job's lease."""
    return float(
        value(connection, "select extract(epoch from vt - clock_timestamp())::float8 from pgmq.q_pgembedd_fresh")
    )


@pytest.mark.slow
def test_the_heartbeat_keeps_what_the_model_takes_long_for(
    database: Database, connection: psycopg.Connection, model: Session, heartbeat: list[float]
) -> None:
    """Each extension is of the whole lease, and three of them fall into one."""
    make_documents(connection)
    insert(connection, [1])
    gate, others = Gate(), list[Sequence[str]]()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), lease_s=LEASE_S):
        assert gate.reached.wait(PATIENCE_S)
        with worker_thread(database, only(Wrapped(model, on_start=others.append)), lease_s=LEASE_S):
            for _ in range(3):
                ends_s = lease_end_s(connection)
                eventually(lambda ends_s=ends_s: lease_end_s(connection) > ends_s)  # type: ignore[misc]
            assert lease_left_s(connection) > LEASE_S / 3, "the next beat comes in time"
            assert [(job.read_ct, job.deferrals) for job in waiting(connection)] == [(1, 0)]
            gate.open()
            await_quiet(connection)
    assert set(heartbeat) == {LEASE_S / 3 / 4}, "every fourth beat, one in five seconds, extends it"
    assert others == [], "the claim was another worker's, too"
    assert stale(connection, model) == []


def test_a_claim_that_was_lost_is_worked_by_its_new_owner_only(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    log: list[EventDict],
    heartbeat: list[float],
) -> None:
    """The lease is moved into the past, which no heartbeat can prevent; then another worker claims."""
    make_documents(connection)
    insert(connection, [1, 2])
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), lease_s=LEASE_S):
        assert gate.reached.wait(PATIENCE_S)
        with connection.transaction():  # so that neither the heartbeat nor the worker's next claim comes in between
            let_leases_run_out(connection)
            assert len(claim(connection, lease_s=600)) == 2
        ends_s = value(connection, "select min(extract(epoch from vt)) from pgmq.q_pgembedd_fresh")
        eventually(lambda: any(event["event"] == "lease_lost" for event in log))
        gate.open()
        eventually(lambda: any(event.get("lost") == 2 for event in log))
    assert value(connection, "select count(*) from documents where embedding is not null") == 0
    assert [job.unrecorded for job in waiting(connection)] == [2, 2]
    assert value(connection, "select min(extract(epoch from vt)) from pgmq.q_pgembedd_fresh") == ends_s


def test_a_job_that_comes_back_to_the_same_worker_is_two_claims(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    log: list[EventDict],
    heartbeat: list[float],
) -> None:
    """The lease runs out while the database is away, say, and the worker that is still at it claims the job again."""
    make_documents(connection)
    insert(connection, [1])
    first, second = Gate(), Gate()
    gates = iter([first, second])
    gated = Wrapped(model, on_result=lambda texts: next(gates)(texts))
    with worker_thread(database, only(gated), lease_s=LEASE_S, vector_cache_mb=0):
        assert first.reached.wait(PATIENCE_S)

        def claimed_again() -> bool:
            connection.execute("update pgmq.q_pgembedd_fresh set vt = clock_timestamp() where read_ct = 1")
            return [job.read_ct for job in waiting(connection)] == [2]

        eventually(claimed_again)
        first.open()
        assert second.reached.wait(PATIENCE_S), "the second claim was forgotten with the first"
        ends_s = lease_end_s(connection)
        eventually(lambda: lease_end_s(connection) > ends_s)
        second.open()
        await_quiet(connection)
    assert [(event.get("lost"), event.get("written")) for event in log if event["event"] == "stored"] == [
        (1, None),
        (None, 1),
    ]


def test_a_suspect_whose_lease_is_lost_before_its_turn_is_not_worked(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    """It may kill the worker, and only deaths of those that are noted to be alone count."""
    make_documents(connection)
    insert(connection, [1])
    for _ in range(2):  # a worker reads it and dies
        claim(connection)
        let_leases_run_out(connection)
    insert(connection, [2])
    gate, asked = Gate(), list[Sequence[str]]()
    with worker_thread(database, only(Wrapped(model, on_start=asked.append, on_result=gate)), lease_s=LEASE_S):
        assert gate.reached.wait(PATIENCE_S)
        connection.execute("update pgmq.q_pgembedd_fresh set read_ct = read_ct + 1 where message -> 'id' = '1'")
        gate.open()
        eventually(lambda: [job.id for job in waiting(connection)] == [1])
    assert asked == [["text 2"]]


class Steps:
    """The event that a heartbeat waits for: takes the next step before each beat, and has come after the last."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def wait(self, _timeout_s: float) -> bool:
        """Whether the event has come."""
        if not self._steps:
            return True
        self._steps.pop(0)()
        return False


def test_a_lease_is_lost_at_the_second_beat_that_misses_it(
    database: Database, connection: psycopg.Connection, log: list[EventDict]
) -> None:
    """At the first one the job may have been stored a moment ago, and is about to leave what is in flight."""
    make_documents(connection)
    insert(connection, [1, 2])
    jobs = JobRepository(Connection(Sessions(database.conninfo, "heartbeat"), threading.Event()))
    in_flight, ear = InFlight(), Ear()
    stored, stolen = claimed = jobs.claim(Due(1, FRESH), 2, LEASE_S)
    in_flight.add(claimed)
    steps = Steps(
        lambda: connection.execute("delete from pgmq.q_pgembedd_fresh where msg_id = %s", [stored.msg_id]),
        lambda: in_flight.remove([stored]),
        lambda: connection.execute("update pgmq.q_pgembedd_fresh set read_ct = 2"),
        lambda: None,
    )
    extend_leases(brisk(lease_s=3), jobs, in_flight, steps.wait, ear, SchemaWait(), lambda: None)
    jobs.connection.close()
    assert ear.heard == [("extended", 1, 0), ("extended", 1, 0), ("extended", 0, 0), ("extended", 0, 1)]
    assert [event["jobs"] for event in log if event["event"] == "lease_lost"] == [1]
    assert in_flight.jobs() == [stolen]


def test_a_heartbeat_that_is_refused_comes_again_in_its_time(
    database: Database, connection: psycopg.Connection, log: list[EventDict]
) -> None:
    """As where the role lost its rights: the leases are extended all the same, and the thread ends."""
    make_documents(connection)
    insert(connection, [1])
    jobs, in_flight, ear = (
        JobRepository(Connection(Sessions(database.conninfo, "test"), threading.Event())),
        InFlight(),
        Ear(),
    )
    in_flight.add(jobs.claim(Due(1, FRESH), 1, 1))
    steps = Steps(lambda: None, lambda: None)
    beats: list[None] = []

    def refused() -> None:
        beats.append(None)
        assert len(beats) < 10, "it does not wait"
        connection.execute("do $$ begin raise insufficient_privilege; end $$")

    extend_leases(brisk(lease_s=3), jobs, in_flight, steps.wait, ear, SchemaWait(), refused)
    jobs.connection.close()
    assert ear.heard == [("extended", 1, 0), ("extended", 1, 0)]
    assert [event["sqlstate"] for event in log if event["event"] == "leases_not_extended"] == ["42501"] * 4


def await_beats(heartbeat: list[float]) -> None:
    """Returns when some beats have come."""
    enough = len(heartbeat) + 3
    eventually(lambda: len(heartbeat) >= enough)


@pytest.mark.slow
def test_a_worker_that_waits_for_another_schema_leaves_its_jobs_to_others(
    database: Database,
    connection: psycopg.Connection,
    model: Session,
    heartbeat: list[float],
    log: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long that takes: it is no hanging claim."""
    make_documents(connection)
    insert(connection, [1])
    gate = Gate()
    with worker_thread(database, only(Wrapped(model, on_result=gate)), lease_s=LEASE_S) as worker:
        assert gate.reached.wait(PATIENCE_S)
        monkeypatch.setattr("pgembedd.loop.worker.STALLED_S", 0.0)
        assert worker.health() != "ok"
        with without(connection, "store", "due"):
            gate.open()
            eventually(lambda: any(one["event"] == "schema_waits" for one in log))
            await_beats(heartbeat)  # one may have begun before
            let_leases_run_out(connection)
            await_beats(heartbeat)
            assert lease_left_s(connection) < 0
            assert worker.health() == "ok"
        await_quiet(connection)
    assert stale(connection, model) == []


def test_a_heartbeat_that_comes_late_takes_nothing_back(connection: psycopg.Connection) -> None:
    """A job that was released or has failed is not the worker's any more, even before it is claimed again."""
    make_documents(connection)
    insert(connection, [1, 2, 3])
    given_back, failed, kept = claim(connection)
    assert release(connection, [given_back]) == 1
    assert release(connection, [given_back]) == 0, "told twice, because the first answer was lost, it counts once"
    fail(connection, failed)
    assert extend(connection, [given_back, failed, kept], lease_s=3600) == [kept.msg_id]
    assert [(job.deferrals, job.attempts) for job in waiting(connection)] == [(1, 0), (0, 1), (0, 0)]
    assert [job.msg_id for job in claim(connection)] == [given_back.msg_id]
    assert extend(connection, [given_back]) == []
