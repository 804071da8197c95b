"""Stops on signals, and calls what may hang within a time limit."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

END_WITHIN_S = 5.0


def close_with_timeout(*closing: Callable[[], object], within_s: float = END_WITHIN_S) -> bool:
    """Calls these one after another; False if they did not end in time.

    What they wait for (a thread of the model, a silent network) only the end of the process can stop after False.
    """

    def close() -> None:
        for each in closing:
            each()

    thread = threading.Thread(target=close, name="ending", daemon=True)
    thread.start()
    thread.join(within_s)
    return not thread.is_alive()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Calls `stop` on SIGTERM or SIGINT; a second signal ends the process at once, and the leases expire."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        # In a thread: the interrupted main thread may hold the lock that stop() takes.
        threading.Thread(target=stop, name="stop").start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
