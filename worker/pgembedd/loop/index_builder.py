"""Builds the indexes that were deferred until after a backfill: CONCURRENTLY, one at a time in a database.

The database supplies the statements (pgembedd.index_statements); each runs on its own, with enough memory, and can
be cancelled at any time.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import errors

from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import is_connection_error, log_errors
from pgembedd.database.listener import Waker
from pgembedd.database.queries import query
from pgembedd.log import get_logger
from pgembedd.retry_policy import Failures, RetryPolicy

CANCEL_WITHIN_S = 0.2
BUILD_AGAIN = RetryPolicy(60.0, 3600.0)
NUMBER_BYTES = {"halfvec": 2, "vector": 4}


@dataclass(frozen=True)
class BuildLimits:
    """The limits of a build: memory in MB, and parallel workers besides the leader."""

    memory_mb: int
    workers: int


@dataclass(frozen=True)
class Size:
    """The size of an index: `rows` with a vector of `dimensions` numbers each, and `m` links per node."""

    rows: int
    dimensions: int
    vector_type: str
    m: int


def memory_mb(size: Size) -> int:
    """Returns the MB that pgvector's graph of these rows needs.

    A node holds its vector, 2 m links on the ground floor and, in one of m nodes, m more on each floor above; a link
    is 16 bytes. `bench/hnsw.py` compares this with where pgvector says that its graph no longer fits.
    """
    node = 8 + NUMBER_BYTES[size.vector_type] * size.dimensions + 16 * (2 * size.m + 1) + 112
    return 16 + size.rows * node * 11 // 10 // 1_000_000


def build_index(
    connection: psycopg.Connection,
    pipeline: str,
    limits: BuildLimits,
    stopping: threading.Event,
    started: Callable[[int], None] = lambda _: None,
) -> bool:
    """Builds the missing parts of the index of `pipeline`; False when another session builds one.

    `started` is called with the MB it may take once the lock is held. `stopping` cancels it: psycopg's QueryCanceled
    and every other error propagate after the unfinished index has been dropped. The connection is in autocommit; the
    settings of its session change.
    """
    with _index_lock(connection) as locked:
        if not locked:
            return False
        try:
            started(set_index_memory(connection, _size(connection, pipeline), limits))
            try:
                _build(connection, pipeline, stopping)
            except (errors.DiskFull, errors.OutOfMemory):
                # Parallel builds need the memory as shared memory, of which a container often has 64 MB.
                connection.execute(query("index_settings"), {"memory": None, "workers": "0"})
                _build(connection, pipeline, stopping)
        except errors.LockNotAvailable:
            return False
    return True


def set_index_memory(connection: psycopg.Connection, size: Size, limits: BuildLimits) -> int:
    """Sets the session's memory and workers, never below the server's own settings; returns the MB it may take."""
    wanted = min(memory_mb(size), limits.memory_mb)
    values = {"memory": wanted * 1024, "workers": str(limits.workers)}
    row = connection.execute(query("index_settings"), values).fetchone()
    return wanted if row is None else int(row[0]) // 1024


def _size(connection: psycopg.Connection, pipeline: str) -> Size:
    row = connection.execute(query("index_size"), {"name": pipeline}).fetchone()
    return Size(0, 1, "halfvec", 16) if row is None else Size(*row)


@contextmanager
def _index_lock(connection: psycopg.Connection) -> Iterator[bool]:
    """Tries to take the lock for index builds; never waits, because the other build would wait for our snapshot."""
    row = connection.execute(query("index_lock")).fetchone()
    locked = bool(row and row[0])
    try:
        yield locked
    finally:
        if locked:
            with suppress(psycopg.Error):  # a session that has ended holds no lock
                connection.execute(query("index_unlock"))


def _build(connection: psycopg.Connection, pipeline: str, stopping: threading.Event) -> None:
    try:
        with cancelled_by(connection, stopping):
            for (statement,) in connection.execute(query("index_statements"), {"name": pipeline}).fetchall():
                connection.execute(statement)
        connection.execute(query("tend_indexes"))
    except BaseException:
        with suppress(psycopg.Error):  # another session's, or out of reach: the next build drops it
            connection.execute(query("drop_unfinished"), {"name": pipeline})
        raise


@contextmanager
def cancelled_by(connection: psycopg.Connection, stopping: threading.Event) -> Iterator[None]:
    """Cancels the running statement of the connection as soon as `stopping` is set."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(CANCEL_WITHIN_S):
            if stopping.is_set():
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=CANCEL_WITHIN_S * 10)

    watcher = threading.Thread(target=watch, name="cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


# -- The thread of a worker ---------------------------------------------------------------------------------------


class IndexBuilder:
    """Builds the indexes that are due; one that fails is retried after a pause that doubles each time."""

    def __init__(self, connection: Connection, limits: BuildLimits, stopping: threading.Event, waker: Waker) -> None:
        """`waker` is woken by each heartbeat that finds an index outstanding."""
        self._connection, self._limits, self._stopping, self._waker = connection, limits, stopping, waker
        self._failed: dict[str, Failures] = {}  # by pipeline

    def run(self) -> None:
        """Builds until `stopping`. A database error is logged; the rest of the process continues."""
        while self._waker.wait(None) and not self._stopping.is_set():
            with log_errors("upkeep_failed"):
                self._build_due()

    def _build_due(self) -> None:
        self._connection.rows_once("tend_indexes", {})
        for (pipeline,) in self._connection.rows("indexes_due"):
            if not self._stopping.is_set() and self._failed.get(pipeline, Failures()).may_retry():
                self._connection.call(partial(self._build_pipeline_index, pipeline), ())

    def _build_pipeline_index(self, pipeline: str, connection: psycopg.Connection) -> None:
        """Builds over a session that is closed at the end, as its settings changed."""
        began = time.monotonic()

        def started(memory_mb: int) -> None:
            get_logger().info("index_building", pipeline=pipeline, memory_mb=memory_mb)

        try:
            built = build_index(connection, pipeline, self._limits, self._stopping, started)
        except psycopg.Error as error:
            if is_connection_error(error):
                raise
            if self._stopping.is_set():
                get_logger().info("index_cancelled", pipeline=pipeline)
                return
            failed = self._failed[pipeline] = BUILD_AGAIN.after(self._failed.get(pipeline, Failures()))
            retry_in_s = BUILD_AGAIN.delay_s(failed.times)
            get_logger().error("index_failed", pipeline=pipeline, sqlstate=error.sqlstate, retry_in_s=retry_in_s)
            return
        finally:
            connection.close()
        self._failed.pop(pipeline, None)
        if built:
            get_logger().info("index_built", pipeline=pipeline, seconds=round(time.monotonic() - began, 1))
