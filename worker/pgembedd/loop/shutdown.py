"""Calls what may hang, within a time limit."""

import threading
from collections.abc import Callable

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
