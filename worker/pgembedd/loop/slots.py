"""Places for work: some at once, or one piece alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_UP_S = 0.25  # how often anyone who waits looks whether it is over


class Slots:
    """So many places; who wants to be alone goes before those who come later."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken = 0
        self.wanting_alone = 0
        self._alone = False
        self._changed = threading.Condition()

    @contextmanager
    def one(self, over: threading.Event) -> Iterator[bool]:
        """A place; False when there was none before `over` was set."""
        with self._changed:
            got = self._await(lambda: self._taken < self._places and not self.wanting_alone, over)
            self._taken += got
        try:
            yield got
        finally:
            with self._changed:
                self._taken -= got
                self._changed.notify_all()

    @contextmanager
    def alone(self, over: threading.Event) -> Iterator[bool]:
        """All places, for one who has one, which is given up meanwhile; False when `over` was set before."""
        with self._changed:
            self.wanting_alone += 1
            self._taken -= 1
            self._changed.notify_all()
            got = self._await(lambda: self._taken == 0 and not self._alone, over)
            self._alone = self._alone or got
        try:
            yield got
        finally:
            with self._changed:
                self._alone = self._alone and not got
                self.wanting_alone -= 1
                self._taken += 1
                self._changed.notify_all()

    def _await(self, condition: Callable[[], bool], over: threading.Event) -> bool:
        while not over.is_set():
            if self._changed.wait_for(condition, LOOK_UP_S):
                return True
        return False
