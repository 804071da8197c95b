"""The end of a fetch: after so many seconds in all, or when the worker ends, its connections are shut down."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType
from typing import Any


class Deadline:
    """A context within which connections live no longer than it: a server that sends a byte a second never idles."""

    def __init__(self, seconds: float) -> None:
        """The time begins at once."""
        self.passed = False
        self._lock, self._sockets = Lock(), list[socket.socket]()
        self._timer = Timer(seconds, self.end)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> "Deadline":
        """The time has begun already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forgets the connections."""
        self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    def end(self) -> None:
        """Shuts all connections down, for the thread that waits for one."""
        with self._lock:
            self.passed = True
            for each in self._sockets:
                _shut_down(each)

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Notes the connections of a request, by whose extension `trace` it is called."""
        if name == "connection.connect_tcp.complete":
            # A second handle of it: TLS takes the first one over.
            connection = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._sockets.append(connection)
                if self.passed:
                    _shut_down(connection)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
