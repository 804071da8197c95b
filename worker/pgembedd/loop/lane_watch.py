"""The lanes of one worker sleep together: the fresh lane looks for both."""

import threading

from pgembedd.database.listener import Waker


class Watch:
    """Tells that the fresh lane sleeps and looks at both queues, so that the backfill lane need not."""

    def __init__(self, backfill: Waker) -> None:
        """`backfill` ends the waits of the backfill lane."""
        self._backfill, self._watching = backfill, threading.Event()

    @property
    def watches(self) -> bool:
        """True while the backfill lane may sleep until it is woken."""
        return self._watching.is_set()

    def begin(self, *, found: bool) -> None:
        """Notes that the fresh lane looked at both; `found` jobs are the backfill lane's."""
        self._watching.set()
        if found:
            self._backfill.wake()

    def end(self) -> None:
        """Notes that the fresh lane has jobs, or looked at some queues only: the backfill lane looks for itself."""
        if self.watches:
            self._watching.clear()
            self._backfill.wake()
