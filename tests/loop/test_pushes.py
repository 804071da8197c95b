"""Posted jobs are processed in limited time, with extended leases; what is not done in time is released."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from pgembedd.database.pushed_jobs import Posted, PushedJobRepository
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.loop import deadline, pushed_jobs
from pgembedd.loop.pushed_request import BusyError, Outcome, PushedRequest
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.loop.pushing import DUE, EACH, READ, pushing
from tests.support.databases import Database
from tests.support.documents import insert, make_documents, missing, waiting
from tests.support.embedders import Gate, Wrapped
from tests.support.prepared import prepared
from tests.support.sql import claim, column, end_sessions, value
from tests.support.waiting import PATIENCE_S, eventually


class Clock:
    """The time as requests see it, which a test moves on: what a slow machine has not come to is not out of time."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def monotonic(self) -> float:
        """As the function in `time`."""
        return time.monotonic() + self._ahead_s

    def let_time_run_out(self) -> None:
        """For every request that came before."""
        self._ahead_s += HttpSettings().http_push_timeout_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the requests; what is in the model when it runs out has plenty of time."""
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    monkeypatch.setattr(pushed_jobs, "GRACE_S", PATIENCE_S)
    return clock


pytestmark = pytest.mark.usefixtures("documents")


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A pipeline without rows."""
    make_documents(connection)


@pytest.mark.slow
def test_the_lease_is_kept_while_the_model_works(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate), lease_s=3) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        first_s = value(connection, "select extract(epoch from vt) from pgmq.q_pgembedd_fresh")
        eventually(lambda: value(connection, "select extract(epoch from vt) from pgmq.q_pgembedd_fresh") > first_s + 3)
        assert claim(connection) == []
        gate.open()
        assert answer.result() == [Outcome("written")]


def test_what_is_claimed_in_time_is_done_and_no_more_is_claimed(
    database: Database, connection: psycopg.Connection, model: Session, clock: Clock
) -> None:
    insert(connection, range(1, 6))
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post_each()
        pusher.await_in_flight(2)  # one is claimed ahead of the model
        clock.let_time_run_out()
        gate.open()
        assert answer.result() == [Outcome("written")] * 2
        assert [(job.deferrals, job.attempts) for job in waiting(connection)] == [(1, 0)] * 3


def test_a_model_that_hangs_does_not_keep_the_answer(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(pushed_jobs, "GRACE_S", 0.1)
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        clock.let_time_run_out()
        (outcome,) = answer.result()
        assert outcome.sentence == "It was not finished in time and waits in the queue."
        assert [(job.read_ct, job.deferrals) for job in waiting(connection)] == [(2, 2)]
        assert value(connection, DUE) == 1
        assert len(pusher.pushed.in_flight) == 1  # so that /livez sees a model that hangs
        gate.open()
        eventually(lambda: missing(connection) == [])  # no other worker had claimed it
        pusher.await_in_flight(0)


def test_a_claim_that_comes_after_the_answer_is_released(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(pushed_jobs, "GRACE_S", 0.1)
    insert(connection, [1])
    begun, go_on = threading.Event(), threading.Event()
    posted = value(connection, READ)

    def claim_late(jobs: PushedJobRepository) -> list[Posted]:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return jobs.claim_pushed(posted)

    with pushing(database, connection, Wrapped(model)) as pusher:
        answer = pusher.claim(claim_late)
        assert begun.wait(PATIENCE_S)
        clock.let_time_run_out()
        assert isinstance(answer.exception(), DatabaseUnavailableError)
        go_on.set()
        eventually(lambda: value(connection, DUE) == 1)
        assert [(job.read_ct, job.deferrals) for job in waiting(connection)] == [(2, 2)]
        pusher.await_in_flight(0)
    assert missing(connection) == [1]


def test_a_claim_that_is_late_but_in_the_grace_is_processed(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    insert(connection, [1])
    posted, in_grace, settled = value(connection, READ), threading.Event(), PushedRequest.is_settled

    def asked(request: PushedRequest) -> bool:
        in_grace.set()
        return settled(request)

    def claim_late(jobs: PushedJobRepository) -> list[Posted]:
        clock.let_time_run_out()
        assert in_grace.wait(PATIENCE_S)
        return jobs.claim_pushed(posted)

    monkeypatch.setattr(PushedRequest, "is_settled", asked)
    with pushing(database, connection, Wrapped(model)) as pusher:
        assert pusher.claim(claim_late).result() == [Outcome("written")]


def test_a_claim_that_fails_is_the_answer_and_the_next_is_claimed(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1, 2])
    first, second = column(connection, EACH)
    with pushing(database, connection, Wrapped(model)) as pusher:
        assert isinstance(pusher.post("{}").exception(), psycopg.errors.InvalidParameterValue)
        assert isinstance(pusher.post('["\\ud800"]').exception(), psycopg.DataError)
        # What the parts before it claimed has its outcome.
        assert pusher.post(first, "{}", second).result() == [Outcome("written")]
    assert missing(connection) == [2]


def test_a_stop_finishes_what_is_claimed(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_jobs, "GRACE_S", PATIENCE_S)
    insert(connection, range(1, 4))
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post_each()
        pusher.await_in_flight(2)
        pusher.pushed._stopping.set()
        gate.open()
        assert answer.result() == [Outcome("written")] * 2
        assert isinstance(pusher.post("[]").exception(), BusyError)


@pytest.mark.slow
def test_a_connection_that_is_lost_is_opened_again(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    with pushing(database, connection, Wrapped(model)) as pusher:
        assert pusher.post().result() == [Outcome("written")]
        assert end_sessions(connection, "application_name like 'pgembedd%'")
        insert(connection, [2])
        assert pusher.post().result() == [Outcome("written")]
