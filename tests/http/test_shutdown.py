"""What was asked is answered before the service ends."""

from __future__ import annotations

import threading

import httpx

from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import serving
from tests.support.waiting import eventually
from worker.model import Session


def refused(url: httpx.URL) -> bool:
    try:
        httpx.get(url.join("/livez"), trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_a_request_under_way_is_answered(model: Session) -> None:
    gate, answers = Gate(), []
    with serving(only(Wrapped(model, on_result=gate))) as client:
        url = client.base_url

        def ask() -> None:
            answers.append(httpx.post(url.join("/embed"), json={"input": "x"}, timeout=60, trust_env=False).status_code)

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
