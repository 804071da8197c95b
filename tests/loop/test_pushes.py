"""Posted jobs are processed in limited time, with extended leases, and a suspect alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgembedd.http.context import ServiceContext
from pgembedd.loop import deadline, push
from pgembedd.loop.pushed_jobs import Outcome
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import backends, insert, make_documents, missing, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.sql import claim, let_leases_run_out, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk

READ = (
    "select jsonb_agg(message || jsonb_build_object('jobId', msg_id))::text from pgmq.read('pgembedd_jobs', 300, 100)"
)


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


class Pusher:
    """A service without its endpoints, to which jobs are posted from threads."""

    def __init__(self, connection: psycopg.Connection, service: ServiceContext, pool: ThreadPoolExecutor) -> None:
        self.service, self._connection, self._pool = service, connection, pool

    def post(self, jobs: str | None = None) -> Future[list[Outcome]]:
        """Post what the guide would read now; what becomes of it."""
        pushes, posted = self.service.pushes, jobs or value(self._connection, READ)
        assert pushes is not None

        def work() -> list[Outcome]:
            return [outcome for _, outcome in pushes.work(lambda jobs, lease_s: jobs.claim_pushed(posted, lease_s))]

        return self._pool.submit(work)


@contextmanager
def pushing(
    database: Database, connection: psycopg.Connection, embedder: Wrapped, *, lease_s: int = 30, **http: Any
) -> Iterator[Pusher]:
    """A pusher; everything is answered at the end."""
    service = ServiceContext(
        brisk(lease_s=lease_s), HttpSettings(**http), ModelRegistry(only(embedder)), database.conninfo
    )
    with ThreadPoolExecutor(8) as pool:
        try:
            yield Pusher(connection, service, pool)
        finally:
            service.stopping.set()
    service.close()
    eventually(lambda: backends(connection) == 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the requests; what is in the model when it runs out has plenty of time."""
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    monkeypatch.setattr(push, "GRACE_S", PATIENCE_S)
    return clock


@pytest.fixture(autouse=True)
def documents(connection: psycopg.Connection) -> None:
    make_documents(connection)


def test_the_lease_is_kept_while_the_model_works(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate), lease_s=3) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        first_s = value(connection, "select extract(epoch from vt) from pgmq.q_pgembedd_jobs")
        eventually(lambda: value(connection, "select extract(epoch from vt) from pgmq.q_pgembedd_jobs") > first_s + 3)
        assert claim(connection) == []
        gate.open()
        assert answer.result() == [Outcome("written")]


def test_what_is_not_done_in_time_goes_back(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(push, "BATCH_SIZE", 2)
    insert(connection, range(1, 6))
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        clock.let_time_run_out()
        gate.open()
        assert sorted(outcome.word for outcome in answer.result()) == ["queued"] * 3 + ["written"] * 2
        assert [(job.deferrals, job.attempts) for job in waiting(connection)] == [(2, 0)] * 3
        assert len(claim(connection)) == 3


def test_a_model_that_hangs_does_not_keep_the_answer(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(push, "GRACE_S", 0.1)
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        clock.let_time_run_out()
        (outcome,) = answer.result()
        assert outcome.sentence == "It was not finished in time and waits in the queue."
        assert [(job.read_ct, job.deferrals) for job in waiting(connection)] == [(2, 2)]
        gate.open()
        eventually(lambda: missing(connection) == [])  # no other worker had claimed it


def test_work_that_outlives_the_service_closes_its_connection(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        pushes = pusher.service.pushes
        assert pushes is not None
        pushes.close()
        assert backends(connection) > 0
        gate.open()
        assert answer.result() == [Outcome("written")]
        eventually(lambda: backends(connection) == 0)


def test_nothing_is_kept_that_is_given_back_after_the_end(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    with pushing(database, connection, Wrapped(model)) as pusher:
        pushes = pusher.service.pushes
        assert pushes is not None
        with pushes.connection(deadline.Deadline(pusher.service.stopping, PATIENCE_S)) as lent:
            open_one = lent.current
            pushes.close()
        assert open_one.closed


def test_a_stop_hands_back_what_is_left(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(push, "BATCH_SIZE", 1)
    insert(connection, range(1, 4))
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        pusher.service.stopping.set()
        gate.open()
        assert [outcome.word for outcome in answer.result()] == ["written", "queued", "queued"]
    assert len(claim(connection)) == 2


def test_more_than_there_is_room_for_has_to_come_again(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "MAX_WAITING", 1)
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate), http_push_at_once=1) as pusher:
        first = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        insert(connection, [2, 3])
        second, third = pusher.post(), None
        assert not second.done()
        pushes = pusher.service.pushes
        assert pushes is not None
        eventually(lambda: pushes._waiting._value == 0)  # the second waits for its turn
        third = pusher.post("[]")
        assert isinstance(third.exception(), push.BusyError)
        gate.open()
        assert first.result() == [Outcome("written")]
        assert second.result() == [Outcome("written"), Outcome("written")]


def test_a_suspect_is_worked_alone_and_lost_posts_make_none(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    connection.execute("update documents set body = 'suspect' where id = 1")
    connection.execute("delete from pgmq.q_pgembedd_jobs where msg_id = 1")
    for _ in range(5):  # posts that were never received
        connection.execute(READ.encode())
        let_leases_run_out(connection)
    for _ in range(2):  # requests that died in the middle of it
        take = "select count(*) filter (where suspect) from pgembedd.claim_pushed(%s::jsonb, 60)"
        assert value(connection, take, value(connection, READ)) == 0
        let_leases_run_out(connection)
    gate, order = Gate(), list[str]()

    def hook(texts: Sequence[str]) -> None:
        if texts[0] != "suspect":
            gate(texts)
        order.append(texts[0])

    suspect = value(connection, READ)
    insert(connection, [2])
    with pushing(database, connection, Wrapped(model, on_result=hook), http_push_at_once=3) as pusher:
        other = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        alone = pusher.post(suspect)
        pushes = pusher.service.pushes
        assert pushes is not None
        eventually(lambda: pushes.slots.exclusive_waiting == 1)
        gate.open()
        assert other.result() == [Outcome("written")]
        assert alone.result() == [Outcome("written")]
    assert order == ["text 2", "suspect"]
