"""A heartbeat that beats at once, so that a lease of a minute is extended while a test looks on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pgembedd.loop.lease_heartbeat import extend_leases

OFTEN_S = 0.05


class Hurried:
    """The event that a heartbeat waits for, with shorter waits; it notes how long they were to be."""

    def __init__(self, event: threading.Event, asked_s: list[float]) -> None:
        self._event, self._asked_s = event, asked_s

    def wait(self, timeout: float) -> bool:
        """Whether the event has come, soon."""
        self._asked_s.append(timeout)
        return self._event.wait(min(timeout, OFTEN_S))


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Workers of this process extend their leases all the time; the pauses that they would have made, in seconds."""
    asked_s = list[float]()

    def hurried(settings: Any, jobs: Any, in_flight: Any, finished: threading.Event, *others: Any) -> None:
        extend_leases(settings, jobs, in_flight, Hurried(finished, asked_s), *others)  # type: ignore[arg-type]

    monkeypatch.setattr("pgembedd.loop.worker.extend_leases", hurried)
    return asked_s
