"""The connections of a worker: few sessions, which its threads share."""

import threading
from collections.abc import Callable

from pgembedd.database.connection import Connection
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import Sessions
from pgembedd.settings import Settings

# What no owner's code can hold up: leases are extended and jobs are released over a session that runs none.
LEASES = frozenset({"heartbeat", "release", "ask"})
EMBED = "embed requests"  # whose callers wait for nothing that a table of a user's holds up
RESERVED = 3  # sessions: one each for LEASES and EMBED, and the listener of the process
LAST_WAIT_S = 1.0  # for a session that others use, where there is no time left to finish jobs, but to release them


class WorkerConnections:
    """Makes the connections of one worker, which has `PGEMBEDD_MAX_CONNECTIONS` sessions at most."""

    def __init__(self, conninfo: str, settings: Settings, schema: SchemaWait, on_change: Callable[..., None]) -> None:
        """`on_change` is that of Sessions."""

        def sessions(purpose: str, most: int, *, prepares: bool = False) -> Sessions:
            return Sessions(
                conninfo,
                purpose,
                most=most,
                prepares=prepares,
                pooled=settings.wait == "poll",
                limit_s=settings.owner_timeout_s,
                last_wait_s=max(settings.grace_s, LAST_WAIT_S),
                on_change=on_change,
                schema=schema,
            )

        self._leases = sessions("leases", 1)
        self._embed = sessions(EMBED, 1, prepares=True)
        self._shared = sessions("work", settings.max_connections - RESERVED)
        self._all = self._leases, self._embed, self._shared

    def connection(self, purpose: str, until: threading.Event, *, limit_times: int = 1) -> Connection:
        """Makes the connection of a thread. The arguments are those of Connection."""
        sessions = self._leases if purpose in LEASES else self._embed if purpose == EMBED else self._shared
        return Connection(sessions, until, purpose, limit_times=limit_times)

    def processes(self) -> list[int]:
        """Returns the ids of the server's processes for all of them."""
        return [process for sessions in self._all for process in sessions.processes()]

    def close(self, unused_s: float = 0.0) -> None:
        """Closes the sessions that were not used for `unused_s` seconds."""
        for sessions in self._all:
            sessions.close(unused_s)
