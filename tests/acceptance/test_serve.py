"""`pgembedd serve` and `pgembedd run --http`, as processes: they answer, they drain, they refuse in a sentence."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest

from pgembedd.model import Session
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.sql import column
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

MODEL = {"PGEMBEDD_HTTP_MODELS": "all-MiniLM-L6-v2"}


@contextmanager
def service(conninfo: str, *arguments: str, command: str = "serve", **environment: str) -> Iterator[WorkerProcess]:
    """A process that has begun to listen, on a free port."""
    with WorkerProcess(
        conninfo, "--http-port", "0", *arguments, command=command, **{**MODEL, **environment}
    ) as process:
        process.await_event("http_started")
        yield process


def url(process: WorkerProcess) -> str:
    return f"http://127.0.0.1:{process.named('http_started')[0]['port']}"


def health(process: WorkerProcess, *arguments: str) -> int:
    port = str(process.named("http_started")[0]["port"])
    return pgembedd("health", "--http-port", port, *arguments).code


@pytest.mark.slow
def test_serve_answers_and_ends_on_sigterm(database: Database, model: Session) -> None:
    with service(database.conninfo) as process:
        process.await_event("model_loaded")
        answer = httpx.post(f"{url(process)}/embed", json={"input": "hello world"}, timeout=60, verify=PLAIN)
        assert len(answer.json()["embedding"]) == 384
        assert health(process) == 0
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert process.named("http_stopped")


@pytest.mark.slow
def test_a_model_of_a_provider_is_served(model: Session) -> None:
    name = "house:all-MiniLM-L6-v2"
    with (
        serving(only(model)) as upstream,
        service(
            "",
            "--no-database",
            DATABASE_URL="",
            PGEMBEDD_HTTP_MODELS=name,
            PGEMBEDD_PROVIDERS=f"house={upstream.base_url}",
        ) as process,
    ):
        process.await_event("model_loaded")
        answer = httpx.post(f"{url(process)}/embed", json={"input": "hello world"}, timeout=60, verify=PLAIN)
        assert len(answer.json()["embedding"]) == 384


@pytest.mark.slow
def test_run_serves_beside_the_loop(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    insert(connection, range(5))
    with service(database.conninfo, "--http", command="run") as process:
        process.await_event("worker_started")
        await_quiet(connection)
        pipeline = connection.execute("select name from pgembedd_internal.pipeline").fetchone()
        assert pipeline is not None
        asked = {"input": "hello world", "pipeline": pipeline[0]}
        assert httpx.post(f"{url(process)}/embed", json=asked, timeout=60, verify=PLAIN).status_code == 200
        assert health(process, "--probe", "live") == 0
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert [event["drained"] for event in process.named("worker_stopped")] == [True]
    assert process.named("http_stopped")


@pytest.mark.slow
def test_both_answer_questions_from_sql(database: Database, connection: psycopg.Connection, model: Session) -> None:
    question = "select pgembedd.embed('hello world', model => 'all-MiniLM-L6-v2', timeout => '1 min')::real[]"
    expected = model.embed(["hello world"], kind="query").vectors[0]
    for arguments, command in (((), "serve"), (("--http",), "run")):
        with service(database.conninfo, *arguments, command=command):
            eventually(
                lambda: connection.execute("select pgembedd_internal._listeners() is not null").fetchall() == [(True,)]
            )
            ((vector,),) = connection.execute(question).fetchall()
            assert np.array_equal(np.float32(vector), expected)
        eventually(lambda: connection.execute("select pgembedd_internal._listeners() is null").fetchall() == [(True,)])


@pytest.mark.slow
def test_both_process_what_is_pushed(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    for number, (arguments, command) in enumerate((((), "serve"), (("--http",), "run"))):
        with connection.transaction():  # so that `run` does not claim them before they are posted
            insert(connection, [number])
            jobs = column(connection, "select j from pgembedd_internal._claim_for_push(10, 300) j")
        with service(database.conninfo, *arguments, command=command) as process:
            answer = httpx.post(f"{url(process)}/functions/v1/embed", json=jobs, timeout=60, verify=PLAIN)
            assert (answer.status_code, answer.json()["failedJobs"], len(jobs)) == (200, [], 1)
            process.send(signal.SIGTERM)
            assert process.wait() == 0
    assert missing(connection) == []


@pytest.mark.slow
def test_no_text_reaches_the_log(model: Session) -> None:
    secret = "my salary is 12345"
    with service("", "--no-database", "--log-level", "debug", DATABASE_URL="") as process:
        process.await_event("model_loaded")
        for asked in ({"input": secret}, {"input": [secret, 5]}, {"text": secret}):
            httpx.post(f"{url(process)}/embed", json=asked, timeout=60, verify=PLAIN)
        httpx.get(f"{url(process)}/embed", params={"input": secret, "kind": secret}, timeout=60, verify=PLAIN)
        httpx.get(f"{url(process)}/{secret}", timeout=60, verify=PLAIN)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert "salary" not in "".join(process.lines)


def test_strangers_need_a_token(database: Database) -> None:
    outcome = pgembedd("serve", "--http-host", "0.0.0.0", "--http-port", "0", database=database.conninfo)

    assert "PGEMBEDD_HTTP_TOKEN" in outcome.refused(2)


def test_the_token_is_no_option() -> None:
    assert "--http-token " not in pgembedd("serve", "--help").out
    assert pgembedd("serve", "--http-token", TOKEN).code == 2


def test_a_port_in_use_is_named(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve"], ["run", "--http"]):
            outcome = pgembedd(*command, "--http-port", port, database=database.conninfo)
            assert f"port {port}" in outcome.refused(2)


def test_a_model_that_is_not_there_ends_it(database: Database) -> None:
    outcome = pgembedd(
        "serve",
        "--http-port",
        "0",
        "--http-models",
        "no-such-model",
        database=database.conninfo,
        PGEMBEDD_LOG_LEVEL="error",
    )

    assert "no-such-model" in outcome.refused(5)


def test_serve_starts_although_its_model_is_away_and_says_so(database: Database, tmp_path: Path) -> None:
    away = {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{tmp_path}/hub", "PGEMBEDD_CACHE_DIR": f"{tmp_path}/cache"}
    with service(database.conninfo, PGEMBEDD_HTTP_MODELS="gte-small", **away) as process:
        eventually(lambda: httpx.get(f"{url(process)}/startupz", timeout=60).status_code == 200)
        ready = httpx.get(f"{url(process)}/readyz", timeout=60)
        assert (ready.status_code, ready.json()["missing"]) == (503, ["gte-small"])
        answer = httpx.post(f"{url(process)}/embed", json={"input": "hello world"}, timeout=60)
        assert answer.status_code == 503
        assert "gte-small could not be fetched" in answer.text


def test_health_says_that_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert f"Nothing answers at http://127.0.0.1:{port}" in pgembedd("health", "--http-port", port).refused(1)


def test_no_database_and_a_database_exclude_each_other() -> None:
    assert pgembedd("serve", "--no-database", "--database", "postgresql:///x").code == 2
