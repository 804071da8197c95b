"""A heartbeat that beats at once, so that a lease of a minute is extended while a test looks on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgembedd.loop.lease_heartbeat import extend_leases

OFTEN_S = 0.05


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Workers of this process extend their leases all the time; the pauses that they would have made, in seconds."""
    asked_s = list[float]()

    def hurried(settings: Any, jobs: Any, in_flight: Any, wait: Callable[[float], bool], *others: Any) -> None:
        def soon(timeout_s: float) -> bool:
            asked_s.append(timeout_s)
            return wait(min(timeout_s, OFTEN_S))

        extend_leases(settings, jobs, in_flight, soon, *others)

    monkeypatch.setattr("pgembedd.loop.parts.extend_leases", hurried)
    return asked_s
