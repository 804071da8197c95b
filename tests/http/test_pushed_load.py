"""Jobs that find no room or no time are due again at once, for workers that pull and for the next post."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NoReturn

import httpx
import psycopg
import pytest

from pgembedd.http.errors.refusals import Refusal
from pgembedd.loop import deadline, pushed_jobs
from pgembedd.model import Session
from pgembedd.settings import HttpSettings
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing
from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import posting, serving
from tests.support.pg_net_standin import install
from tests.support.sql import call, column, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

PATH = "/functions/v1/embed"
LEASE_S = 300  # of the sender
SOON = "select count(*) from pgmq.q_pgembedd_fresh where vt < clock_timestamp() + '10 s'"


def posts(connection: psycopg.Connection, rows: int, batch_size: int) -> list[list[dict[str, Any]]]:
    """The bodies that pg_cron's call posts for so many new rows."""
    install(connection)
    make_documents(connection)
    insert(connection, range(1, rows + 1))
    call(connection, "set_push", url="http://127.0.0.1:1/functions/v1/embed")
    call(connection, "process_embeddings", batch_size=batch_size, timeout_milliseconds=LEASE_S * 1000)
    assert value(connection, SOON) == 0
    return column(connection, "delete from net.http_request_queue returning convert_from(body, 'UTF8')::jsonb")


@pytest.mark.slow
def test_many_more_requests_than_there_is_room_for(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_jobs, "MAX_WAITING", 1)
    bodies, gate = posts(connection, 30, batch_size=3), Gate()
    embedder = Wrapped(model, on_result=gate)
    with (
        serving(only(embedder), database.conninfo, http_push_at_once=1) as client,
        posting(client, PATH, bodies[0]) as first,
    ):
        assert gate.reached.wait(PATIENCE_S)
        with ThreadPoolExecutor(9) as pool:
            answers = [pool.submit(client.post, PATH, json=body) for body in bodies[1:]]
            refused = await_refusals(answers, 8)
            assert {answer.headers["retry-after"] for answer in refused} == {"10"}
            eventually(lambda: value(connection, SOON) == 24)
            gate.open()
        assert first().headers["x-completed-jobs"] == "3"
        assert sorted(answer.result().status_code for answer in answers) == [200] + [503] * 8
        assert len(missing(connection)) == 24
    with worker_thread(database, only(model)):
        await_quiet(connection)
    assert missing(connection) == []


def test_what_cannot_be_released_at_once_is_released_by_the_worker(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an outage, or when all connections of the service are in use."""
    monkeypatch.setattr(pushed_jobs, "MAX_WAITING", 0)
    (first, second), gate = posts(connection, 6, batch_size=3), Gate()
    embedder = Wrapped(model, on_result=gate)

    def unreachable(*_: object) -> NoReturn:
        raise Refusal(503, "The database cannot be reached at the moment; try again.")

    with (
        serving(only(embedder), database.conninfo, http_push_at_once=1) as client,
        posting(client, PATH, first) as answer,
    ):
        assert gate.reached.wait(PATIENCE_S)
        monkeypatch.setattr("pgembedd.http.connection_pool.DatabasePool.connection", unreachable)
        assert client.post(PATH, json=second).status_code == 503
        gate.open()
        eventually(lambda: value(connection, SOON) == 3)
        monkeypatch.undo()
        assert answer().headers["x-completed-jobs"] == "3"


def await_refusals(answers: Sequence[Future[httpx.Response]], count: int) -> list[httpx.Response]:
    """The first answers, which are refusals."""
    found: list[httpx.Response] = []
    for answer in as_completed(answers, PATIENCE_S):
        found.append(answer.result())
        if len(found) == count:
            break
    assert {answer.status_code for answer in found} == {503}
    return found


@pytest.mark.slow
def test_a_request_that_waited_in_vain_is_due_again(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), gate = posts(connection, 6, batch_size=3), Gate()
    embedder = Wrapped(model, on_result=gate)
    with (
        serving(only(embedder), database.conninfo, http_push_at_once=1) as client,
        posting(client, PATH, first) as answer,
    ):
        assert gate.reached.wait(PATIENCE_S)
        # However long it had: the first one keeps its place until the gate is opened.
        monkeypatch.setattr(pushed_jobs, "Deadline", lambda stopping, _: deadline.Deadline(stopping, 0.1))
        refused = client.post(PATH, json=second)
        assert (refused.status_code, refused.json()["error"]) == (503, "busy")
        eventually(lambda: value(connection, SOON) >= 3)
        gate.open()
        answer()
    with worker_thread(database, only(model)):
        await_quiet(connection)


@pytest.mark.slow
def test_time_that_runs_out_after_the_first_part(
    database: Database, connection: psycopg.Connection, model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    (jobs,), gate, started = posts(connection, 60, batch_size=60), Gate(), list[int]()

    class Late:
        """The time as the request sees it, once the second part is in the model."""

        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + (HttpSettings().http_push_timeout_s if gate.reached.is_set() else 0.0)

    monkeypatch.setattr(deadline, "time", Late)
    monkeypatch.setattr(pushed_jobs, "GRACE_S", 0.1)

    def hold(texts: Sequence[str]) -> None:
        started.append(len(texts))
        if len(started) > 1:
            gate(texts)

    with serving(only(Wrapped(model, on_result=hold)), database.conninfo) as client:
        answer = client.post(PATH, json=jobs)
        assert [job["id"] for job in answer.json()["completedJobs"]] == list(range(1, 17))
        sentences = {job["error"] for job in answer.json()["failedJobs"]}
        assert sentences == {"It was not finished in time and waits in the queue."}
        # Of which one part is in the model, and one was claimed, perhaps only just, or is yet to be.
        eventually(lambda: value(connection, SOON) == 44)
        gate.open()
    with worker_thread(database, only(model)):
        await_quiet(connection)
    assert missing(connection) == []


@pytest.mark.slow
def test_two_services_that_are_sent_the_same(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    bodies, embedded = posts(connection, 40, batch_size=20), list[str]()
    load = only(Wrapped(model, on_start=embedded.extend))
    with (
        serving(load, database.conninfo) as one,
        serving(load, database.conninfo) as other,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(
            pool.map(
                lambda sent: sent[0].post(PATH, json=sent[1]),
                [(client, body) for body in bodies for client in (one, other)],
            )
        )
    for answer in answers:
        assert answer.status_code in (200, 207)
        assert {job["error"] for job in answer.json()["failedJobs"]} <= {"Another request or worker has claimed it."}
    completed = {job["id"] for answer in answers for job in answer.json()["completedJobs"]}
    assert completed == set(range(1, 41))
    assert sorted(embedded) == sorted(f"text {number}" for number in range(1, 41))
    assert missing(connection) == []


@pytest.mark.slow
def test_a_job_twice_in_one_request(database: Database, connection: psycopg.Connection, model: Session) -> None:
    (jobs,), embedded = posts(connection, 3, batch_size=3), list[str]()
    with serving(only(Wrapped(model, on_start=embedded.extend)), database.conninfo) as client:
        answer = client.post(PATH, json=[*jobs, *jobs])
        assert [job["id"] for job in answer.json()["completedJobs"]] == [1, 2, 3, 1, 2, 3]
    assert sorted(embedded) == ["text 1", "text 2", "text 3"]
