"""Statements of one thread over sessions with Postgres, which are opened again when they are lost.

After a lost session a call waits, and is repeated over another one. Every statement of ours is safe to repeat, because
each is fenced on the claim and does nothing for a job that is no longer claimed by this worker.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from tenacity import RetryCallState

from pgembedd.database.connection_errors import COLLISION, TRANSIENT, UserCodeError, is_connection_error
from pgembedd.database.queries import query
from pgembedd.database.schema_check import LACKING, MIGRATED, lacks_function
from pgembedd.database.sessions import Session, Sessions
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError, OtherSchemaError
from pgembedd.log import get_logger
from pgembedd.retry_policy import RetryPolicy

Answer = TypeVar("Answer")
Values = Mapping[str, Any]

RECONNECT = RetryPolicy(0.1, 10.0, jitter=0.5)
MOST_COLLISIONS = 5  # of one statement; code of a user's may raise the same error each time


class Connection:
    """The statements of one thread: each over a session of `sessions`, or over another one where that is lost."""

    def __init__(
        self, sessions: Sessions, stopping: threading.Event, purpose: str = "", *, limit_times: int = 1
    ) -> None:
        """`stopping` ends the wait for an unreachable database, with DatabaseUnavailableError.

        `purpose` names the thread in the log, as the sessions do where they are its own. Users' code gets `limit_times`
        as long as the limit of the sessions.
        """
        self.sessions, self._stopping, self.purpose = sessions, stopping, purpose or sessions.purpose
        self._limit_times = limit_times

    def close(self) -> None:
        """Closes the sessions that are not in use."""
        self.sessions.close()

    def call(
        self,
        work: Callable[[psycopg.Connection], Answer],
        transient: tuple[type[psycopg.Error], ...] = TRANSIENT,
        until: threading.Event | None = None,
    ) -> Answer:
        """Returns `work(connection)`, reconnecting until it succeeds or `until` (else `stopping`) is set.

        A schema that does not fit is waited for like a database that is away.

        `transient` errors are retried, too.
        """
        return self._call(lambda session: work(session.connection), transient, until)

    def _call(
        self,
        work: Callable[[Session], Answer],
        transient: tuple[type[psycopg.Error], ...] = TRANSIENT,
        until: threading.Event | None = None,
    ) -> Answer:
        ended = until or self._stopping
        try:
            return self._try(work, ended)  # as in nearly all cases: the loop costs as much as a statement
        except Exception as error:
            failed = [error]

        def attempt() -> Answer:
            if failed:
                raise failed.pop()
            return self._try(work, ended)

        retrying = RECONNECT.retrying(
            lambda error: is_connection_error(error) or isinstance(error, transient),
            stop=lambda _: ended.is_set(),
            sleep=partial(self.sessions.sleep, until=ended),
            before_sleep=self._log_retry,
        )
        return retrying(attempt)

    def _try(self, work: Callable[[Session], Answer], until: threading.Event) -> Answer:
        """Returns `work(session)`. OtherSchemaError for an error that is the schema's, and not a row's."""
        with self.sessions.session(until) as session:
            try:
                answer = work(session)
            except psycopg.Error as error:
                if is_connection_error(error):
                    session.connection.close()
                if session.connection.closed or isinstance(error, TRANSIENT):
                    raise
                if self.sessions.check_schema(session) != session.version:
                    raise OtherSchemaError(MIGRATED) from error
                if lacks_function(error):
                    raise OtherSchemaError(LACKING) from error
                raise
        self.sessions.works()
        self.sessions.schema.end(self.purpose)
        return answer

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and not isinstance(error, COLLISION):
            self.note(error, state.attempt_number)

    def note(self, error: BaseException, tries: int = 1) -> None:
        """Logs an error after which a call is repeated, the `tries`th in succession."""
        if away := is_connection_error(error):
            self.sessions.lost()
        if isinstance(error, OtherSchemaError):
            self.sessions.schema.begin(self.purpose, error)
            return
        said = str(error)
        if isinstance(error, DatabaseRefusedError):
            get_logger().error("database_refused", purpose=self.purpose, tries=tries, error=said)
            return
        said = said if isinstance(error, DatabaseUnavailableError) else type(error).__name__
        get_logger().warning(
            "database_away" if away else "database_busy", purpose=self.purpose, tries=tries, error=said
        )

    def rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows of a named statement that touches no table of a user."""
        return self._call(lambda session: self._execute(session, name, values))

    def value(self, name: str, **values: Any) -> Any:
        """Returns the first column of the first row."""
        return self.rows(name, **values)[0][0]

    def rows_once(
        self,
        name: str,
        values: Values,
        until: threading.Event | None = None,
        allowed_s: float | None = None,
        *,
        binary: bool = False,
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement that touches users' tables: the caller handles locks and limits.

        Their code may leave settings, prepared statements, locks or temporary tables in the session; they are removed.
        It may also raise any error: what is no lost connection, nor a collision that passes, is a UserCodeError. Beyond
        `allowed_s`, or the limit of the connection, it is an OwnerTimeoutError. `binary` is for large values.
        """
        tries = 0

        def work(session: Session) -> list[tuple[Any, ...]]:
            nonlocal tries
            tries += 1
            limit_s = session.limit.allowed(allowed_s, self._limit_times)
            try:
                with session.limit.over(session.connection, limit_s):
                    return self._execute(session, name, values, limit_s, binary=binary)
            except psycopg.Error as error:
                if self._is_raised(session.connection, error, tries):
                    raise UserCodeError(error) from error
                raise
            finally:
                session.limit.clean(session.connection)

        return self._call(work, COLLISION, until)

    def _is_raised(self, connection: psycopg.Connection, error: psycopg.Error, tries: int) -> bool:
        """Tells that a user's code raised an error that would be retried without end."""
        if isinstance(error, COLLISION):
            return tries >= MOST_COLLISIONS
        if connection.closed or error.sqlstate is None or not is_connection_error(error):
            return False
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return connection.execute(query("is_read_only")).fetchone() == (False,)
        return True

    def _execute(
        self, session: Session, name: str, values: Values, limit_s: float | None = None, *, binary: bool = False
    ) -> list[tuple[Any, ...]]:
        connection, statement = session.connection, session.statement(name)
        if connection.keeps_session:
            return connection.execute(statement, values, binary=binary).fetchall()
        with connection.transaction():
            if limit_s is not None:
                session.limit.limit_transaction(connection, limit_s)
            return connection.execute(statement, values, binary=binary).fetchall()
