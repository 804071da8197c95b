"""The end of a fetch: after so many seconds in all, or when the worker ends, what it waits for is ended."""

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType
from typing import Any

LONGEST_S = 60.0
"""A file that is not there after so many seconds is tried again."""


class Deadline:
    """A context within which connections live no longer than it: a server that sends a byte a second never idles."""

    def __init__(self, seconds: float) -> None:
        """The time begins at once."""
        self.passed = False
        self._lock, self._ends, self._sockets = Lock(), list[Callable[[], object]](), list[socket.socket]()
        self._timer = Timer(seconds, self.end)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> "Deadline":
        """The time has begun already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forgets what was to be ended."""
        self._timer.cancel()
        with self._lock:
            self._ends.clear()
            for each in self._sockets:
                each.close()

    def end(self) -> None:
        """Ends what is waited for, in whichever thread."""
        with self._lock:
            self.passed = True
            for end in self._ends:
                end()

    def at_end(self, end: Callable[[], object]) -> None:
        """Calls this at the end, at once where it has passed."""
        with self._lock:
            self._ends.append(end)
            if self.passed:
                end()

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Has the connections of a request shut down, by whose extension `trace` it is called."""
        if name == "connection.connect_tcp.complete":
            # A second handle of it: TLS takes the first one over.
            connection = info["return_value"].get_extra_info("socket").dup()
            self._sockets.append(connection)
            self.at_end(lambda: _shut_down(connection))


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
