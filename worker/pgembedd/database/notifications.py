"""Waits for new jobs: the NOTIFY of the triggers."""

import selectors
from typing import LiteralString, Protocol

import psycopg

from pgembedd.database.connection import Connection


class HasFileno(Protocol):
    """A file or socket that `select` can wait for."""

    def fileno(self) -> int:
        """Returns the descriptor of a file or socket."""


def wait_readable(timeout_s: float, *files: HasFileno) -> list[HasFileno]:
    """Waits until one of `files` is readable, for at most `timeout_s` seconds; returns those that are."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file.fileno(), selectors.EVENT_READ, file)
        return [key.data for key, _ in selector.select(timeout_s)]


class JobNotifications:
    """Listens on a connection and on those that replace it."""

    def __init__(self, connection: Connection, channel: LiteralString = "pgembedd") -> None:
        """Call `listen` to start."""
        self._connection, self._channel = connection, channel
        self._listening = False
        self._missed = False  # a NOTIFY may have come while the connection was lost

    def set_idle(self, idle: bool) -> None:
        """Asks the triggers to NOTIFY (True), or not to (False)."""
        self._connection.value("set_idle", idle=idle)

    def listen(self) -> None:
        """Starts to listen for the triggers' NOTIFY."""
        self._connection.sessions.on_open(self._listen)
        self._connection.call(lambda _: None)

    def _listen(self, connection: psycopg.Connection) -> None:
        connection.execute(f"listen {self._channel}")
        self._missed, self._listening = self._listening, True

    def wait(self, timeout_s: float, *wakers: HasFileno) -> bool:
        """Waits for a NOTIFY, or until one of `wakers` is readable; False when neither came in `timeout_s` seconds.

        A lost connection may have lost a NOTIFY.
        """

        def wait(connection: psycopg.Connection) -> bool:
            # All of them at once: those that came during other statements would wake the claimer one by one.
            if list(connection.notifies(timeout=0, stop_after=1)):
                return True
            ready = wait_readable(timeout_s, connection, *wakers)
            notified = bool(list(connection.notifies(timeout=0, stop_after=1)))
            return notified or any(file is not connection for file in ready)

        notified = self._connection.call(wait)
        missed, self._missed = self._missed, False
        return notified or missed
