"""Looks, seldom, at what the database says of the pipelines and their queues, for /metrics and /readyz."""

import threading
import time
from dataclasses import dataclass

import psycopg

from pgembedd.database.queries import query
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.errors.refusals import Refusal
from pgembedd.log import get_logger

QUERY_EVERY_S = 5.0
PAUSE_FACTOR = 20  # the query takes at most a twentieth of one connection's time, however long the queues are
QUERY_TIMEOUT_S = 8  # Prometheus gives a scrape ten seconds
WAIT_S = 2.0  # for a database that may be away

Row = tuple[str | None, str | None, int, int, float | None, float | None, int, dict[str, int], int, int, float, float]


@dataclass(frozen=True)
class Look:
    """A row of pgembedd.metrics() for each pipeline, and the number of workers that answer; None where it failed.

    After an error of the database it counts as up.
    """

    rows: list[Row] | None
    workers: int
    up: bool
    seconds: float


class QueueLook:
    """Looks at the queues, and remembers that for the requests that follow soon after."""

    def __init__(self, database: DatabasePool) -> None:
        self._database = database
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._looking: threading.Thread | None = None  # that `recent` waits for
        self._until = 0.0
        self._last = Look(None, 0, up=False, seconds=0.0)

    def look(self) -> Look:
        """Returns the last look, or a new one where that is old."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._last = self._query()
                self._until = time.monotonic() + max(QUERY_EVERY_S, PAUSE_FACTOR * self._last.seconds)
            return self._last

    def recent(self, wait_s: float) -> Look:
        """Returns the same, but waits no longer than `wait_s` for a new look."""
        with self._starting:
            if self._looking is None or not self._looking.is_alive():
                self._looking = threading.Thread(target=self.look, name="queues", daemon=True)
                self._looking.start()
            looking = self._looking
        looking.join(wait_s)
        return self._last

    def _query(self) -> Look:
        began, up = time.monotonic(), True
        try:
            with self._database.connection(WAIT_S) as connection:
                began = time.monotonic()
                rows, workers = _ask(connection)
                return Look(rows, workers, up=True, seconds=time.monotonic() - began)
        except Refusal as refusal:
            began, up = time.monotonic(), refusal.code == "schema_unusable"
        except psycopg.Error as error:
            get_logger().warning("metrics_incomplete", error=type(error).__name__, sqlstate=error.sqlstate)
        return Look(None, 0, up=up, seconds=time.monotonic() - began)


def _ask(connection: psycopg.Connection) -> tuple[list[Row], int]:
    with connection.transaction():
        connection.execute(query("statement_timeout"), {"milliseconds": str(QUERY_TIMEOUT_S * 1000)})
        rows = connection.execute(query("metrics")).fetchall()
        ((workers,),) = connection.execute(query("doctor_workers")).fetchall()
    return rows, workers
