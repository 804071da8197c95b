"""The deadline of a request."""

import threading
import time

STOP_CHECK_S = 0.25  # how often a waiting thread checks whether it is to stop


class Deadline(threading.Event):
    """An event that is set by `set`, when the service stops, or when the time is up."""

    def __init__(self, stopping: threading.Event, timeout_s: float) -> None:
        super().__init__()
        self._stopping, self._at = stopping, time.monotonic() + timeout_s

    def is_set(self) -> bool:
        """Returns True once the deadline has passed."""
        return super().is_set() or self._stopping.is_set() or time.monotonic() >= self._at

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the deadline has passed, for at most `timeout` seconds."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, STOP_CHECK_S))
        return self.is_set()
