"""What was asked is answered before the service ends."""

from __future__ import annotations

import signal
import threading

import httpx
import pytest

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.embedders import MODEL, Gate, Wrapped, only
from tests.support.http import PLAIN, serving
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess


def refused(url: httpx.URL) -> bool:
    """Whether no new request is answered; a connection that was waiting to be accepted is reset."""
    try:
        httpx.get(url.join("/livez"), timeout=60, trust_env=False, verify=PLAIN)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return True
    return False


def test_a_request_under_way_is_answered(model: Session) -> None:
    gate, answers = Gate(), []
    with serving(only(Wrapped(model, on_result=gate))) as client:
        url = client.base_url

        def ask() -> None:
            answers.append(
                httpx.post(
                    url.join("/embed"), json={"input": "x"}, timeout=60, trust_env=False, verify=PLAIN
                ).status_code
            )

        def open_late() -> None:
            eventually(lambda: refused(url))
            gate.open()

        threads = [threading.Thread(target=ask), threading.Thread(target=open_late)]
        threads[0].start()
        assert gate.reached.wait(60)
        threads[1].start()
    for thread in threads:
        thread.join()

    assert answers == [200]


@pytest.mark.slow
def test_serve_ends_although_its_model_hangs(database: Database) -> None:
    with WorkerProcess(
        database.conninfo,
        "--http-port=0",
        f"--http-models={MODEL}",
        module="tests.support.faulty_model_worker",
        command="serve",
        MODEL_FAULT="slow:3600",
    ) as process:
        process.await_event("model_loaded")
        (started,) = process.named("http_started")
        url = f"http://127.0.0.1:{started['port']}/embed"
        httpx.post(url, json={"input": "x"}, timeout=60, trust_env=False, verify=PLAIN)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
