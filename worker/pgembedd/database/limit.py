"""A limit on the time of a statement that runs code of a table's owner.

statement_timeout alone does not hold: triggers that are deferred to COMMIT are not counted, and code can catch the
cancellation and go on. So what takes longer is cancelled from here, then its process in the server is ended, which no
code can catch; where that cannot be done either, the connection is given up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.abc import PQGen

from pgembedd.database.queries import query
from pgembedd.errors import PgembeddError
from pgembedd.log import get_logger

GRACE_S = 1.0  # for each step, before the next one

Value = TypeVar("Value")


class OwnerTimeoutError(errors.QueryCanceled):
    """Code of a table's owner did not end within `allowed_s` seconds."""

    def __init__(self, allowed_s: float) -> None:
        super().__init__(f"It did not end within {allowed_s:g} s.")
        self.allowed_s = allowed_s


class LimitedConnection(psycopg.Connection):
    """A connection whose waits can have a limit."""

    limit: "Limit | None" = None

    def wait(self, gen: PQGen[Value], *arguments: Any, **options: Any) -> Value:
        """Waits for the server, as of psycopg; within the limit."""
        return super().wait(gen if self.limit is None else self.limit.over(gen), *arguments, **options)


class Limit:
    """The limit of one statement: what is done when it takes too long, one step after another."""

    def __init__(self, connection: psycopg.Connection, allowed_s: float, end: Callable[[], None]) -> None:
        """`end` ends the process that serves the connection; any of our errors, or psycopg's, if it cannot."""
        self.taken: list[str] = []  # the steps
        self.away: PgembeddError | None = None  # why the process could not be ended
        self._connection, self._end = connection, end
        self.start(allowed_s)

    def start(self, allowed_s: float) -> None:
        """Has the time begin now; infinite before a pooler has given a session, for which it may wait."""
        self.allowed_s = allowed_s
        self._began = time.monotonic()
        self._next_at = self._began + allowed_s + GRACE_S

    def is_used_up(self) -> bool:
        """Tells that the time is over: a cancellation is that of the server's limit."""
        return time.monotonic() - self._began >= self.allowed_s

    def over(self, gen: PQGen[Value]) -> PQGen[Value]:
        """Returns the same generator, with the steps where the time is up; psycopg looks ten times a second."""
        try:
            state = next(gen)
            while True:
                ready = yield state
                if time.monotonic() >= self._next_at:
                    self._take_step()
                state = gen.send(ready)
        except StopIteration as ended:
            value: Value = ended.value
            return value

    def _take_step(self) -> None:
        steps = {"cancelled": self._cancel, "ended": self._end}
        name = next((name for name in steps if name not in self.taken), "given_up")
        self.taken.append(name)
        if name == "given_up":
            self._connection.close()
            raise self.away or OwnerTimeoutError(self.allowed_s)
        try:
            steps[name]()
        except psycopg.Error:  # the next step comes
            pass
        except PgembeddError as away:  # then it is no fault of the owner's
            self.away = away
        self._next_at = time.monotonic() + GRACE_S

    def _cancel(self) -> None:
        self._connection.cancel_safe(timeout=GRACE_S)


class SessionLimit:
    """The limit of the statements of one connection that run users' code, and of its sessions."""

    def __init__(self, limit_s: float | None, purpose: str, end: Callable[[int], None], *, pooled: bool) -> None:
        """`end` ends a process of the server. `pooled` sessions are set again in each transaction."""
        self.limit_s = self._given_s = limit_s
        self._purpose, self._end, self._pooled = purpose, end, pooled
        self._process = 0

    def open(self, connection: psycopg.Connection) -> None:
        """Sets the limit of a session that was opened; a lower one of the role's own holds."""
        if self._given_s is not None and not self._pooled:
            self.limit_s = self._set(connection, self._given_s)

    def clean(self, connection: psycopg.Connection) -> None:
        """Removes what users' code left; a session that cannot be cleaned is closed, and what it did stands."""
        if self._pooled or connection.closed:
            return
        limit_ms = None if self.limit_s is None else str(_ms(self.limit_s))
        try:
            connection.execute(sql.SQL(query("clean_session")).format(limit_ms=sql.Literal(limit_ms)))
        except psycopg.Error as error:
            get_logger().warning("session_closed", purpose=self._purpose, error=type(error).__name__)
            connection.close()

    def allowed(self, allowed_s: float | None, times: int = 1) -> float | None:
        """Returns what a statement may take that is to have `allowed_s` at most; None for as long as it likes.

        `times` as long as the limit, unless the role has a lower one.
        """
        limit_s = self.limit_s if self.limit_s is None or self.limit_s != self._given_s else self.limit_s * times
        return min((one for one in (allowed_s, limit_s) if one is not None), default=None)

    def limit_transaction(self, connection: psycopg.Connection, allowed_s: float) -> None:
        """Limits the open transaction, from now on."""
        allowed_s = self._set(connection, allowed_s)
        if isinstance(connection, LimitedConnection) and connection.limit is not None:
            connection.limit.start(allowed_s)

    def _set(self, connection: psycopg.Connection, limit_s: float) -> float:
        values = {"limit_ms": _ms(limit_s), "in_transaction": self._pooled}
        ((limit_ms, self._process, _),) = connection.execute(query("limit_session"), values).fetchall()
        return float(limit_ms) / 1000

    @contextmanager
    def over(self, connection: psycopg.Connection, allowed_s: float | None) -> Iterator[None]:
        """Limits what the connection runs in the block. OwnerTimeoutError where it took too long, which is logged."""
        if allowed_s is None or not isinstance(connection, LimitedConnection):
            yield
            return
        if not self._pooled and allowed_s != self.limit_s:
            values = {"limit_ms": _ms(allowed_s)}
            ((limit_ms, _),) = connection.execute(query("limit_statement"), values).fetchall()
            allowed_s = float(limit_ms) / 1000
        begins_with_s = inf if self._pooled else allowed_s
        connection.limit = limit = Limit(connection, begins_with_s, lambda: self._end(self._process))
        try:
            yield
        except psycopg.Error as error:
            by_server = limit.is_used_up() and isinstance(error, errors.QueryCanceled)
            if limit.away is not None or not (limit.taken or by_server):
                raise
            how = limit.taken[-1] if limit.taken else "by_server"
            allowed_s = limit.allowed_s
            get_logger().warning("owner_timeout", purpose=self._purpose, allowed_s=round(allowed_s, 3), how=how)
            if how in {"ended", "given_up"}:
                connection.close()
            raise OwnerTimeoutError(allowed_s) from error
        finally:
            connection.limit = None


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
