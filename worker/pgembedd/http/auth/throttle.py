"""Limits how often an address may send a wrong token."""

import time
from collections.abc import Callable

MAX_FAILURES, WINDOW_S = 5, 60.0
MAX_ADDRESSES = 1000


class Throttle:
    """Remembers the latest failures of each address. Every method is one step under the GIL, so any thread may call."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a clock in seconds."""
        self._now = now
        self._failures: dict[str, list[float]] = {}

    def wait_s(self, address: str) -> float:
        """Returns the seconds until this address may try again, 0 for at once."""
        recent = self._recent(address)
        return recent[-MAX_FAILURES] + WINDOW_S - self._now() if len(recent) >= MAX_FAILURES else 0.0

    def record_failure(self, address: str) -> None:
        """Records a wrong token; of too many addresses the oldest is forgotten."""
        recent = self._recent(address)
        while len(self._failures) >= MAX_ADDRESSES and address not in self._failures:
            self._failures.pop(next(iter(self._failures)), None)
        self._failures[address] = [*recent, self._now()][-MAX_FAILURES:]

    def _recent(self, address: str) -> list[float]:
        return [at for at in self._failures.get(address, []) if at > self._now() - WINDOW_S]
