"""Posted jobs are processed in limited time, with extended leases, by turns, and a suspect alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from pgembedd.database.pushed_jobs import Posted, PushedJobRepository
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.http.context import ServiceContext
from pgembedd.loop import claimer, deadline, pushed_jobs, pushed_request
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.pushed_request import BusyError, Claim, Outcome
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import backends, insert, make_documents, missing, waiting
from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import pushed_worker
from tests.support.sql import call, claim, column, let_leases_run_out, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk, running

READ = "select jsonb_agg(j order by j ->> 'jobId')::text from pgembedd._claim_for_push(100, 300) j"
EACH = f"select '[' || j::text || ']' from jsonb_array_elements(({READ})::jsonb) j"
DUE = "select count(*) from pgmq.q_pgembedd_jobs where vt <= clock_timestamp()"


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

    def __init__(self, connection: psycopg.Connection, pushed: PushedJobs, pool: ThreadPoolExecutor) -> None:
        self.pushed, self._connection, self._pool = pushed, connection, pool

    def post(self, *parts: str) -> Future[list[Outcome]]:
        """Post what pg_cron would read now, or these parts; what becomes of each job."""
        return self.claim(
            *(partial(PushedJobRepository.claim_pushed, jobs=part) for part in parts or [value(self._connection, READ)])
        )

    def post_each(self) -> Future[list[Outcome]]:
        """Post what pg_cron would read now, each job as a part of its own."""
        return self.post(*column(self._connection, EACH))

    def claim(self, *claims: Claim) -> Future[list[Outcome]]:
        """Post something that is claimed so."""
        return self._pool.submit(lambda: [outcome for _, outcome in self.pushed.process(claims)])

    def await_in_flight(self, count: int) -> None:
        """Return when so many jobs are in flight."""
        eventually(lambda: len(self.pushed.in_flight) == count)


@contextmanager
def pushing(
    database: Database,
    connection: psycopg.Connection,
    embedder: Wrapped,
    *,
    http: dict[str, Any] | None = None,
    pulls: bool = False,
    **settings: Any,
) -> Iterator[Pusher]:
    """A pusher; everything is answered at the end."""
    models = ModelRegistry(only(embedder))
    service = ServiceContext(brisk(**settings), HttpSettings(**(http or {})), models, database.conninfo)
    assert service.pushed is not None
    worker = pushed_worker(service, database.conninfo, models, pulls=pulls, **settings)
    with ThreadPoolExecutor(8) as pool, running(worker):
        try:
            yield Pusher(connection, service.pushed, pool)
        finally:
            worker.stop()
            service.pushed._wake()  # where a test has made the waits long
    service.close()
    eventually(lambda: backends(connection) == 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the requests; what is in the model when it runs out has plenty of time."""
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    monkeypatch.setattr(pushed_request, "GRACE_S", PATIENCE_S)
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
    monkeypatch.setattr(pushed_request, "GRACE_S", 0.1)
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
    monkeypatch.setattr(pushed_request, "GRACE_S", 0.1)
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
    database: Database, connection: psycopg.Connection, model: Session, clock: Clock
) -> None:
    insert(connection, [1])
    posted = value(connection, READ)

    def claim_late(jobs: PushedJobRepository) -> list[Posted]:
        clock.let_time_run_out()
        return jobs.claim_pushed(posted)

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
    monkeypatch.setattr(pushed_request, "GRACE_S", PATIENCE_S)
    insert(connection, range(1, 4))
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate)) as pusher:
        answer = pusher.post_each()
        pusher.await_in_flight(2)
        pusher.pushed._stopping.set()
        gate.open()
        assert answer.result() == [Outcome("written")] * 2
        assert isinstance(pusher.post("[]").exception(), BusyError)


def test_a_connection_that_is_lost_is_opened_again(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    insert(connection, [1])
    with pushing(database, connection, Wrapped(model)) as pusher:
        assert pusher.post().result() == [Outcome("written")]
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and application_name like 'pgembedd%'"
        )
        insert(connection, [2])
        assert pusher.post().result() == [Outcome("written")]


def test_more_than_there_is_room_for_has_to_come_again(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_jobs, "MAX_WAITING", 1)
    insert(connection, [1])
    gate = Gate()
    with pushing(database, connection, Wrapped(model, on_result=gate), http={"http_push_at_once": 1}) as pusher:
        first = pusher.post()
        assert gate.reached.wait(PATIENCE_S)
        insert(connection, [2, 3])
        second = pusher.post()
        eventually(lambda: len(pusher.pushed._requests) == 2)  # the second waits for its turn
        assert isinstance(pusher.post("[]").exception(), BusyError)
        gate.open()
        assert first.result() == [Outcome("written")]
        assert second.result() == [Outcome("written"), Outcome("written")]
    assert pusher.pushed._by_job == {}


def test_requests_take_turns(database: Database, connection: psycopg.Connection, model: Session) -> None:
    insert(connection, range(1, 4))
    order, gate = list[str](), Gate()
    with pushing(database, connection, Wrapped(model, on_start=order.extend, on_result=gate)) as pusher:
        first = pusher.post_each()
        pusher.await_in_flight(2)
        insert(connection, range(4, 7))
        second = pusher.post_each()
        eventually(lambda: len(pusher.pushed._requests) == 2)
        gate.open()
        assert first.result() == second.result() == [Outcome("written")] * 3
    assert order == [f"text {number}" for number in (1, 2, 4, 5, 3, 6)]


@pytest.mark.parametrize("role", ["serve", "listen", "poll"])
def test_a_request_wakes_the_worker(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    for name in ("STOP_CHECK_S", "FIRST_PAUSE_S"):
        monkeypatch.setattr(claimer, name, 2 * PATIENCE_S)
    insert(connection, range(3))
    parts = column(connection, EACH)
    settings: dict[str, Any] = {"wait": "poll"} if role == "poll" else {}
    with pushing(database, connection, Wrapped(model), pulls=role != "serve", **settings) as pusher:
        for part in parts:
            assert pusher.post(part).result(PATIENCE_S) == [Outcome("written")]


def test_a_request_that_ends_wakes_the_worker_for_the_next(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimer, "STOP_CHECK_S", 2 * PATIENCE_S)
    insert(connection, range(3))
    parts = column(connection, EACH)
    with pushing(database, connection, Wrapped(model), http={"http_push_at_once": 1}) as pusher:
        answers = [pusher.post(part) for part in parts]
        assert [answer.result(PATIENCE_S) for answer in answers] == [[Outcome("written")]] * 3


def test_requests_and_the_queue_take_turns(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection, "others")
    insert(connection, range(6))
    parts = column(connection, EACH)
    insert(connection, range(40), "others", "other")
    order, gate = list[str](), Gate()
    embedder = Wrapped(model, on_start=lambda texts: order.append(texts[0].split()[0]), on_result=gate)
    with pushing(database, connection, embedder, pulls=True, claim_size=4) as pusher:
        eventually(lambda: len(order) == 2)
        answer = pusher.post(*parts)
        eventually(lambda: len(pusher.pushed._requests) == 1)
        gate.open()
        assert answer.result() == [Outcome("written")] * 6
        eventually(lambda: missing(connection, "others") == [])
    pushed = [number for number, kind in enumerate(order) if kind == "text"]
    assert [later - earlier for earlier, later in pairwise(pushed)] == [2] * 5


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
        take = "select count(*) filter (where (job).suspect) from pgembedd.claim_pushed(%s::jsonb, 60)"
        assert value(connection, take, value(connection, READ)) == 0
        let_leases_run_out(connection)
    gate, order = Gate(), list[str]()

    def hold(texts: Sequence[str]) -> None:
        if texts[0] != "suspect":
            gate(texts)

    insert(connection, [2])
    call(connection, "backfill", name="documents", force=True)
    connection.execute("delete from pgmq.q_pgembedd_backfill where message ->> 'id' <> '2'")
    with pushing(database, connection, Wrapped(model, on_start=order.extend, on_result=hold)) as pusher:
        alone = pusher.post()  # the suspect, with two others from both queues
        pusher.await_in_flight(3)
        assert gate.reached.wait(PATIENCE_S)
        gate.open()
        assert [outcome.done for outcome in alone.result()] == [True] * 3
    assert order == ["text 2", "text 2", "suspect"]
