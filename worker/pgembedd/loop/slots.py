"""A lock with a limited number of shared holders, or one exclusive holder."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_CHECK_S = 0.25  # how often a waiting thread checks whether it is cancelled


class Slots:
    """`count` slots. Exclusive acquirers take precedence over shared ones."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._in_use = 0
        self.exclusive_waiting = 0
        self._exclusive = False
        self._changed = threading.Condition()

    @contextmanager
    def shared(self, cancelled: threading.Event) -> Iterator[bool]:
        """Acquires a slot; yields False if none was free before `cancelled` was set."""
        with self._changed:
            acquired = self._acquire(lambda: self._in_use < self._count and not self.exclusive_waiting, cancelled)
            self._in_use += acquired
        try:
            yield acquired
        finally:
            with self._changed:
                self._in_use -= acquired
                self._changed.notify_all()

    @contextmanager
    def exclusive(self, cancelled: threading.Event) -> Iterator[bool]:
        """Acquires all slots; the caller's own is released meanwhile. Yields False if `cancelled` was set first."""
        with self._changed:
            self.exclusive_waiting += 1
            self._in_use -= 1
            self._changed.notify_all()
            acquired = self._acquire(lambda: self._in_use == 0 and not self._exclusive, cancelled)
            self._exclusive = self._exclusive or acquired
        try:
            yield acquired
        finally:
            with self._changed:
                self._exclusive = self._exclusive and not acquired
                self.exclusive_waiting -= 1
                self._in_use += 1
                self._changed.notify_all()

    def _acquire(self, condition: Callable[[], bool], cancelled: threading.Event) -> bool:
        while not cancelled.is_set():
            if self._changed.wait_for(condition, STOP_CHECK_S):
                return True
        return False
