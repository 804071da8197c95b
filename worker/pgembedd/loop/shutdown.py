"""The end of a process in which something may hang."""

import threading
from collections.abc import Callable

END_WITHIN_S = 5.0


def close_with_timeout(*closing: Callable[[], object], within_s: float = END_WITHIN_S) -> bool:
    """Do these one after another, and say whether they ended in time.

    They wait for the model, whose threads nothing can stop: after False only the end of the process does.
    """

    def close() -> None:
        for each in closing:
            each()

    thread = threading.Thread(target=close, name="ending", daemon=True)
    thread.start()
    thread.join(within_s)
    return not thread.is_alive()
