"""The connections of a worker: which of its threads keep a session for themselves, and which share."""

import threading

from pgembedd.database.connection import Connection
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import IDLE_S, Sessions
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import Observer

# Sessions that listen, or by which others know of the worker; so they are never closed.
KEPT = frozenset({"claim", "push", "embed requests", "index", "ask claims"})
# What no owner's code can hold up: leases are extended and jobs are released over a session that runs none.
LEASES = frozenset({"heartbeat", "release", "ask"})


class WorkerConnections:
    """Makes the connections of one worker, which has `PGEMBEDD_CONNECTIONS` sessions at most."""

    def __init__(self, conninfo: str, settings: Settings, schema: SchemaWait, observer: Observer) -> None:
        self._conninfo, self._settings, self._schema, self._observer = conninfo, settings, schema, observer
        self._all: list[Sessions] = []
        self._leases = self._sessions("leases", idle_s=IDLE_S)
        self._shared = self._sessions("work", idle_s=IDLE_S, most=settings.connections - 1)

    def connection(self, purpose: str, until: threading.Event, *, limit_times: int = 1) -> Connection:
        """Makes the connection of a thread. The arguments are those of Connection."""
        if purpose in KEPT:
            self._shared.most -= 1
            sessions = self._sessions(purpose)
        else:
            sessions = self._leases if purpose in LEASES else self._shared
        return Connection(sessions, until, purpose, limit_times=limit_times)

    def processes(self) -> list[int]:
        """Returns the ids of the server's processes for all of them."""
        return [process for sessions in self._all for process in sessions.processes()]

    def close_idle(self) -> None:
        """Closes the sessions that were not used for a while."""
        for sessions in self._all:
            sessions.close_idle()

    def close(self) -> None:
        """Closes the sessions that are not in use."""
        for sessions in self._all:
            sessions.close()

    def _sessions(self, purpose: str, *, idle_s: float | None = None, most: int = 1) -> Sessions:
        made = Sessions(
            self._conninfo,
            purpose,
            most=most,
            idle_s=idle_s,
            pooled=self._settings.wait == "poll",
            limit_s=self._settings.owner_timeout_s,
            last_wait_s=self._settings.grace_s,
            on_change=self._observer.connection,
            schema=self._schema,
        )
        self._all.append(made)
        return made
