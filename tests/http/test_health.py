"""The probes say when to wait, when to send requests, and when to restart."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgembedd.errors import ModelUnavailableError
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.queue_look import QueueLook
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from tests.support.databases import Database
from tests.support.documents import make_documents
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.http import serving
from tests.support.roles import Roles, conninfo_as
from tests.support.waiting import eventually
from tests.support.worker import worker_thread


def checks(client: httpx.Client, path: str) -> tuple[int, dict[str, Any]]:
    answer = client.get(path)
    assert answer.json()["status"] == ("ok" if answer.status_code == 200 else "unavailable")
    return answer.status_code, answer.json()["checks"]


def test_a_service_without_a_model_is_alive_and_not_ready(model: Session) -> None:
    gate = threading.Event()

    def load(name: str) -> Embedder:
        assert gate.wait(60)
        return only(model)(name)

    with serving(load) as client:
        assert checks(client, "/livez") == (200, {"loop": "ok"})
        assert checks(client, "/startupz")[0] == 503
        assert checks(client, "/readyz")[1]["model"] == "No model is loaded yet."

        asking = threading.Thread(target=client.post, args=["/embed"], kwargs={"json": {"input": "x"}})
        asking.start()
        assert checks(client, "/livez")[0] == 200  # also while it loads
        gate.set()
        asking.join()

        assert checks(client, "/startupz") == (200, {"model": "ok"})
        assert checks(client, "/readyz")[0] == 200


@pytest.mark.slow
def test_what_is_missing_is_named_and_nothing_at_all_is_not_ready(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    come: set[str] = set()

    def load(name: str) -> Embedder:
        if name not in come:
            raise ModelUnavailableError(f"{name} is away.")
        return Wrapped(model)

    make_documents(connection)
    with serving(load, database.conninfo, http_models="gte-small") as client:
        assert client.post("/embed", json={"input": "x"}).status_code == 503
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["model"] == "No model could be loaded; missing: gte-small."
        assert answer.json()["missing"] == ["gte-small"]
        assert checks(client, "/startupz")[0] == 200, "restarting it would not help"

        come.add(MODEL)
        assert client.post("/embed", json={"input": "x", "model": MODEL}).status_code == 200
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["missing"]) == (200, ["gte-small"])

        come.add("gte-small")
        eventually(lambda: "missing" not in client.get("/readyz").json())  # which has it tried again


def test_ready_means_reached_and_migrated(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo) as client:
        client.post("/embed", json={"input": "x"})

        assert checks(client, "/readyz")[1]["database"] == "ok"


def test_a_database_without_the_schema_is_not_ready(empty_database: Database, model: Session) -> None:
    with serving(only(model), empty_database.conninfo) as client:
        client.post("/embed", json={"input": "x"})
        status, said = checks(client, "/readyz")

        assert status == 503
        assert "pgembedd migrate" in said["database"]
        assert checks(client, "/livez")[0] == 200


@pytest.mark.slow
def test_a_database_that_is_away_is_not_ready_and_embedding_goes_on(model: Session) -> None:
    nobody = "host=127.0.0.1 port=1 dbname=none user=none"
    with serving(only(model), nobody) as client:
        assert client.post("/embed", json={"input": "x"}).status_code == 200
        assert checks(client, "/readyz")[1]["database"] == "The database cannot be reached."
        assert checks(client, "/livez")[0] == 200


@pytest.mark.slow
def test_a_database_that_refuses_the_service_is_not_ready_and_names_no_role(database: Database, model: Session) -> None:
    with serving(only(model), make_conninfo(database.conninfo, password="guessed")) as client:
        assert checks(client, "/readyz")[1]["database"] == "The database refuses the connection: the log says why."
        answer = client.get("/api/v1/status")
        assert (answer.status_code, answer.json()["error"]) == (502, "database_refused")
        assert "Correct the connection string of this service (DATABASE_URL)" in answer.json()["message"]


def test_a_worker_that_may_build_no_index_is_well(roles: Roles, database: Database, model: Session) -> None:
    role = roles.make("embedder")
    with database.connect() as owner:
        owner.execute("select pgembedd.grant_worker(%s)", [role])
    conninfo = conninfo_as(database, role)
    with worker_thread(conninfo, only(model)) as worker, serving(only(model), conninfo, worker=worker) as client:
        eventually(lambda: worker._threads["index"].is_alive())
        assert checks(client, "/livez") == (200, {"loop": "ok"})


def test_probes_wait_for_one_look_at_the_queues() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        queues = QueueLook(DatabasePool(f"host=127.0.0.1 port={port} dbname=db user=me sslmode=disable"))
        before = set(threading.enumerate())
        for _ in range(5):
            assert queues.recent(0.0).rows is None
        assert [thread.name for thread in set(threading.enumerate()) - before].count("queues") == 1


def test_a_worker_beside_it_is_looked_at(database: Database, model: Session) -> None:
    with (
        worker_thread(database, only(model)) as worker,
        serving(only(model), database.conninfo, worker=worker) as client,
    ):
        eventually(lambda: worker.health() == "ok" and client.get("/livez").status_code == 200)
        worker.stop()


@pytest.mark.parametrize("probe", ["/livez", "/readyz", "/startupz"])
def test_probes_take_get_alone(model: Session, probe: str) -> None:
    with serving(only(model)) as client:
        assert client.post(probe).status_code == 405


@pytest.mark.parametrize("probe", ["/livez", "/readyz", "/startupz"])
def test_a_load_balancer_may_ask_with_head(model: Session, probe: str) -> None:
    with serving(only(model)) as client:
        client.post("/embed", json={"input": "x"})
        answer = client.head(probe)

    assert (answer.status_code, answer.content) == (200, b"")
