"""Waits for new jobs: the NOTIFY of the triggers."""

import psycopg

from pgembedd.database.connection import Connection


class JobNotifications:
    """Listens on a connection and on those that replace it."""

    def __init__(self, connection: Connection) -> None:
        """Call `listen` to start."""
        self._connection = connection
        self._listening = False
        self._missed = False  # a NOTIFY may have come while the connection was lost

    def set_idle(self, idle: bool) -> None:
        """Asks the triggers to NOTIFY (True), or not to (False)."""
        self._connection.value("set_idle", idle=idle)

    def listen(self) -> None:
        """Starts to listen for the triggers' NOTIFY."""
        self._connection.on_open(self._listen)

    def _listen(self, connection: psycopg.Connection) -> None:
        connection.execute("listen pgembedd")
        self._missed, self._listening = self._listening, True

    def wait(self, timeout_s: float) -> bool:
        """Waits for a NOTIFY; False when none came in `timeout_s` seconds. A lost connection may have lost one."""
        # All of them at once: those that came during other statements would wake the claimer one by one.
        notified = self._connection.call(
            lambda connection: bool(list(connection.notifies(timeout=timeout_s, stop_after=1)))
        )
        missed, self._missed = self._missed, False
        return notified or missed
