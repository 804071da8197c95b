"""The connections of a worker: few sessions, which its threads share."""

import threading

from pgembedd.database.connection import Connection
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import Sessions
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import Observer

# What no owner's code can hold up: leases are extended and jobs are released over a session that runs none.
LEASES = frozenset({"heartbeat", "release", "ask"})
LISTENER = 1  # session, of the process
LAST_WAIT_S = 1.0  # for a session that others use, where there is no time left to finish jobs, but to release them


class WorkerConnections:
    """Makes the connections of one worker, which has `PGEMBEDD_MAX_CONNECTIONS` sessions at most."""

    def __init__(self, conninfo: str, settings: Settings, schema: SchemaWait, observer: Observer) -> None:
        def sessions(purpose: str, most: int) -> Sessions:
            return Sessions(
                conninfo,
                purpose,
                most=most,
                pooled=settings.wait == "poll",
                limit_s=settings.owner_timeout_s,
                last_wait_s=max(settings.grace_s, LAST_WAIT_S),
                on_change=observer.connection,
                schema=schema,
            )

        self._leases = sessions("leases", 1)
        self._shared = sessions("work", settings.max_connections - 1 - LISTENER)

    def connection(self, purpose: str, until: threading.Event, *, limit_times: int = 1) -> Connection:
        """Makes the connection of a thread. The arguments are those of Connection."""
        return Connection(self._leases if purpose in LEASES else self._shared, until, purpose, limit_times=limit_times)

    def processes(self) -> list[int]:
        """Returns the ids of the server's processes for all of them."""
        return self._leases.processes() + self._shared.processes()

    def close(self, unused_s: float = 0.0) -> None:
        """Closes the sessions that were not used for `unused_s` seconds."""
        self._leases.close(unused_s)
        self._shared.close(unused_s)
