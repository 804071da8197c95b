"""Frozen workers and locked tables are seen on every surface, with real processes and a real lock."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from pgembedd.model import Session
from tests.http.page import text_of
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.sql import rows, value
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

# Each worker has told the session by which it listens.
KNOWN = """
    select count(*) > 1 and bool_and(exists (select from pgembedd_internal.worker w where a.pid = any (w.sessions)))
    from pg_stat_activity a where a.datname = current_database() and a.application_name = 'pgembedd listen'
"""
ANSWERING = "select count(*) from pgembedd_internal.worker where clock_timestamp() - answered_at < '10 s'"


def status(connection: psycopg.Connection) -> dict[str, tuple[str, str | None]]:
    """State and reason of each pipeline."""
    found = rows(connection, "select pipeline, state, reason from pgembedd.status")
    return {name: (state, reason) for name, state, reason in found}


def states(connection: psycopg.Connection) -> dict[str, str]:
    return {name: state for name, (state, _) in status(connection).items()}


def pass_two_minutes(connection: psycopg.Connection) -> None:
    """For pipelines, jobs and stores; what answers says so again within five seconds."""
    for change in (
        "pgembedd_internal.pipeline set state_since = state_since - interval '2 min'",
        "pgmq.q_pgembedd_fresh set enqueued_at = enqueued_at - interval '2 min'",
        "pgembedd_internal.activity set at = at - interval '2 min'",
        "pgembedd_internal.worker set answered_at = answered_at - interval '2 min'",
    ):
        connection.execute(f"update {change}".encode())


def check_surfaces(client: httpx.Client, database: Database, states: dict[str, str], cause: str) -> None:
    """The same answer in the terminal, the doctor, the page, the API, the metrics and the probes."""
    stalled = sum(state == "stalled" for state in states.values())

    def in_metrics() -> bool:
        text = client.get("/metrics").text
        line = 'pgembedd_pipeline_state{{pipeline="{}",state="{}"}} 1.0'
        return all(line.format(*one) in text for one in states.items())

    eventually(in_metrics)  # which look every few seconds
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json().get("stalled", 0)) == (200, stalled)
    health = pgembedd("health", "--http-port", str(client.base_url.port))
    assert health.code == 0
    assert ("not move: `pgembedd status` says why." in health.out) == bool(stalled)
    doctor = pgembedd("doctor", database=database.conninfo)
    terminal = pgembedd("status", database=database.conninfo).out
    page = client.get("/")
    told = {one["pipeline"]: one for one in client.get("/api/v1/status").json()["pipelines"]}
    for name, state in states.items():
        assert (f'BAD   pipeline "{name}": stalled' in doctor.out) == (state == "stalled"), doctor.out
        assert told[name]["state"] == state
        assert f'<span class="state {state}">{state}</span>' in page.text
    for seen in (doctor.out, terminal, text_of(page), str(told)):
        assert seen.count(cause) == stalled, (cause, seen)
    assert doctor.code == (1 if stalled else 0)


@contextmanager
def workers(database: Database, connection: psycopg.Connection, count: int) -> Iterator[list[WorkerProcess]]:
    """So many processes of `pgembedd run`, once all answer, with two pipelines whose rows are done."""
    make_documents(connection)
    make_documents(connection, "other")
    with WorkerProcess(database.conninfo) as one, WorkerProcess(database.conninfo) as two:
        running = [one, two][:count]
        if count == 1:
            two.kill()
        for each in running:
            each.await_event("worker_started")
        for table in ("documents", "other"):
            insert(connection, [1], table)
        await_quiet(connection)
        yield running


@pytest.mark.slow
def test_frozen_workers(database: Database, connection: psycopg.Connection, model: Session) -> None:
    with workers(database, connection, 2) as both, serving(only(model), database.conninfo) as client:
        eventually(lambda: value(connection, KNOWN))
        client.post("/embed", json={"input": "x"})  # which loads the model
        check_surfaces(client, database, {"documents": "running", "other": "running"}, "No worker")
        for worker in both:
            worker.send(signal.SIGSTOP)
        insert(connection, [2, 3])

        def silent() -> bool:
            pass_two_minutes(connection)
            eventually(lambda: value(connection, ANSWERING) == 1)  # that of the service
            return states(connection) == {"documents": "stalled", "other": "running"}

        eventually(silent)
        check_surfaces(client, database, states(connection), "No worker that claims jobs answers: process ")
        assert all(f"process {worker.process.pid} on " in str(status(connection)) for worker in both)

        for worker in both:
            worker.send(signal.SIGCONT)
        await_quiet(connection)
        eventually(lambda: set(states(connection).values()) == {"running"})
        check_surfaces(client, database, states(connection), "No worker")


@pytest.mark.slow
def test_a_locked_table(database: Database, connection: psycopg.Connection, model: Session) -> None:
    with (
        workers(database, connection, 1) as (worker,),
        serving(only(model), database.conninfo) as client,
        database.connect(autocommit=False, application_name="a migration") as blocker,
    ):
        blocker.execute("lock table documents in exclusive mode")
        pid = blocker.info.backend_pid
        blocker.execute("insert into documents values (2, 'secret words')")
        blocker.execute("commit; begin; lock table documents in exclusive mode; select 'secret words'")
        insert(connection, [2], "other")
        eventually(lambda: value(connection, "select count(*) from pgmq.q_pgembedd_fresh") == 1)
        pass_two_minutes(connection)
        eventually(lambda: states(connection) == {"documents": "stalled", "other": "running"})
        client.post("/embed", json={"input": "x"})  # which loads the model
        held = f"The table public.documents is locked by pid {pid} (a migration)"
        check_surfaces(client, database, states(connection), held)

        worker.await_event("released")
        (told, *_) = worker.named("released")
        named = [told[name] for name in ("pipeline", "table", "blocker", "application", "why")]
        assert named == ["documents", "public.documents", pid, "a migration", "write: LockNotAvailable"]
        assert "secret" not in str(told)
        noted = "select message -> 'pgembedd' ->> 'why' from pgmq.q_pgembedd_fresh"
        eventually(lambda: value(connection, noted) == "write: LockNotAvailable")
        blocker.rollback()
        await_quiet(connection)
        assert set(states(connection).values()) == {"running"}


def refusal_of(ask: Callable[[], object]) -> str:
    with pytest.raises(psycopg.errors.InsufficientResources) as caught:
        ask()
    return str(caught.value.diag.message_primary)


@pytest.mark.slow
def test_embed_does_not_wait_for_a_frozen_worker(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection)
    question = "select pgembedd.embed('a question', timeout => '50 s')"
    heard = "select pgembedd_internal._listeners() is not null"
    with WorkerProcess(database.conninfo) as worker, database.connect() as asker:
        eventually(lambda: value(connection, heard))
        assert value(asker, question)
        worker.send(signal.SIGSTOP)
        said: list[str] = []
        waits = threading.Thread(target=lambda: said.append(refusal_of(lambda: asker.execute(question))))
        waits.start()  # before it is known
        eventually(lambda: value(connection, "select count(*) from pgembedd_internal.embed_request") == 1 or said)
        place = f"process {worker.process.pid} on "
        while waits.is_alive():
            pass_two_minutes(connection)
            waits.join(0.1)
        assert said[0].startswith(f"No worker answers that could embed the text: {place}"), said
        assert refusal_of(lambda: connection.execute(question)).startswith("No worker answers that could embed")
        doctor = pgembedd("doctor", database=database.conninfo).out
        assert "embed(): set up, but no worker would answer" in doctor
        worker.send(signal.SIGCONT)
        eventually(lambda: value(connection, "select pgembedd_internal._listeners() is not null"))
        assert value(connection, question)
