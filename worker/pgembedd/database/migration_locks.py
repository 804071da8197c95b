"""Locks that a migration needs: how long it waits for one, how often it tries again, which sessions are in its way.

A lock that is waited for keeps those waiting who come later, as one that is held does. So a wait is short, and then the
whole transaction is given up, which releases all that it holds.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from tenacity import RetryCallState, stop_after_delay

from pgembedd.database.connect import connect
from pgembedd.database.queries import query
from pgembedd.errors import PgembeddError
from pgembedd.log import get_logger
from pgembedd.retry_policy import RetryPolicy

LOCK_TIMEOUT_S = 1.0
PATIENCE_S = 120.0
AGAIN = RetryPolicy(LOCK_TIMEOUT_S, 10.0, jitter=0.25)
_POLL_S = 0.2


@dataclass(frozen=True)
class LockHolder:
    """A session in the way. The state and the statement, without its literals, are None where they may not be read."""

    pid: int
    role: str | None
    state: str | None
    transaction_s: float | None
    statement: str | None

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (pg_prepared_xacts)"
        lasts = None if self.transaction_s is None else f"in a transaction of {self.transaction_s:.0f} s"
        said = None if self.statement is None else f"with the statement `{self.statement}`"
        return " ".join(filter(None, (f"the session {self.pid} of the role {self.role},", self.state, lasts, said)))


class LockWatch:
    """Looks which sessions keep a migration's session waiting: in a thread, over its own connection."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._ended = threading.Event()
        self._pid: int | None = None
        self.holders: list[LockHolder] = []
        self._thread = threading.Thread(target=self._look, name="migration locks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, migration: psycopg.Connection) -> None:
        """Limits the waits of the open transaction, and looks at its session from now on."""
        migration.execute(query("limit_waits"), {"lock_timeout": f"{LOCK_TIMEOUT_S * 1000:.0f}ms"})
        ((self._pid,),) = migration.execute(query("process")).fetchall()

    def _look(self) -> None:
        """Looks until the end; without a connection for it, as the migration may have none, no session is named."""
        with suppress(psycopg.Error, PgembeddError), connect(self._conninfo, autocommit=True) as connection:
            while not self._ended.wait(_POLL_S):
                found = connection.execute(query("lock_holders"), {"pid": self._pid}).fetchall()
                self.holders = [LockHolder(*row) for row in found] or self.holders


def migrate_patiently(conninfo: str, attempt: Callable[[LockWatch], None]) -> None:
    """Runs a migration, each attempt in its own transaction, until it has all locks. PgembeddError in the end."""

    def log(state: RetryCallState) -> None:
        for fields in map(asdict, watch.holders) if watch.holders else ({},):
            get_logger().warning("migration_waits", tries=state.attempt_number, **fields)

    with LockWatch(conninfo) as watch:
        retrying = AGAIN.retrying(_is_contention, stop=stop_after_delay(PATIENCE_S), before_sleep=log)
        try:
            retrying(attempt, watch)
        except Exception as error:
            if not _is_contention(error):
                raise
            found = " and ".join(map(str, watch.holders)) or "another session"
            raise PgembeddError(
                f"The migration gave up after {PATIENCE_S:.0f} s, and nothing was changed: what it has to lock is used "
                f"by {found}. End that transaction, as with `select pg_terminate_backend(pid)`, and migrate again."
            ) from error


def _is_contention(error: BaseException) -> bool:
    """Tells that others were in the way; alembic's own statements raise SQLAlchemy's error with the driver's in it."""
    return isinstance(getattr(error, "orig", error), LockNotAvailable | DeadlockDetected)
