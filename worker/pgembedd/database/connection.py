"""A Connection to Postgres that reconnects.

After a lost connection a call waits, reconnects and is repeated. Every statement of ours is safe to repeat, because
each is fenced on the claim and does nothing for a job that is no longer claimed by this worker.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors, sql
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from pgembedd.database.connect import connect_unpinned, pin_path
from pgembedd.database.connection_errors import COLLISION, TRANSIENT, UserCodeError, is_connection_error
from pgembedd.database.encoding import replace_foreign_characters
from pgembedd.database.limit import SessionLimit
from pgembedd.database.queries import query
from pgembedd.database.schema_check import LACKING, MIGRATED, SchemaVersion, SchemaWait, lacks_function
from pgembedd.database.vector_codec import find_vector_type
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError, OtherSchemaError
from pgembedd.log import get_logger

Answer = TypeVar("Answer")
Statement = LiteralString | sql.Composed
Values = Mapping[str, Any]

LONGEST_WAIT_S = 10.0  # between two tries
MOST_COLLISIONS = 5  # of one statement; code of a user's may raise the same error each time


def ignore_change(purpose: str, *, up: bool) -> None:
    """The `on_change` of a connection that has no observer."""


class Connection:
    """A connection that is opened on demand and reopened after a loss; for one thread at a time."""

    def __init__(
        self,
        conninfo: str,
        stopping: threading.Event,
        purpose: str,
        *,
        pooled: bool = False,
        limit_s: float | None = None,
        on_change: Callable[..., None] = ignore_change,
        schema: SchemaWait | None = None,
    ) -> None:
        """`stopping` ends the wait for an unreachable database, with DatabaseUnavailableError.

        `pooled` says that a pooler hands every transaction to another server process, so that nothing may be set for
        the session. Users' code gets `limit_s`. `on_change(purpose, up=…)` is called when it was opened or lost.
        `schema` is shared by the connections of a process.
        """
        self._conninfo, self._stopping, self.purpose = conninfo, stopping, purpose
        self._pooled, self._on_change = pooled, on_change
        self.limit = SessionLimit(limit_s, purpose, self._end_process, pooled=pooled)
        self._schema = schema or SchemaWait()
        self._version: SchemaVersion | None = None
        self._on_open: list[Callable[[psycopg.Connection], None]] = []
        self._opened: psycopg.Connection | None = None
        self._vector = sql.Identifier("vector")

    @property
    def current(self) -> psycopg.Connection:
        """The open connection, opened if needed; autocommit, so that each statement is a transaction."""
        if self._opened is None or self._opened.closed:
            opened = connect_unpinned(self._conninfo, autocommit=True, application_name=f"pgembedd {self.purpose}")
            try:
                with opened.transaction():
                    pin_path(opened, in_transaction=self._pooled)
                    self.limit.open(opened)
                    replace_foreign_characters(opened)
                    self._version = self._schema.check(opened)
                    self._vector = find_vector_type(opened) or self._vector
                for prepare_session in self._on_open:
                    prepare_session(opened)
            except (psycopg.Error, OtherSchemaError) as error:
                opened.close()  # half prepared, it would serve the next call
                if isinstance(error, OtherSchemaError):
                    raise
                raise DatabaseUnavailableError(f"The session could not be prepared: {type(error).__name__}.") from error
            self._opened = opened
            self._on_change(self.purpose, up=True)
        return self._opened

    def on_open(self, prepare_session: Callable[[psycopg.Connection], None]) -> None:
        """Calls `prepare_session` with the connection, opened anew, and after each reconnection."""
        self._on_open.append(prepare_session)
        self.close()
        self.call(lambda _: None)

    def _end_process(self, process: int) -> None:
        with connect_unpinned(self._conninfo, autocommit=True, connect_timeout=2) as other:
            other.execute(query("end_process"), {"process": process})

    def process(self) -> int | None:
        """Returns the id of the server's process for it; None while it is not open. For any thread."""
        opened = self._opened
        return None if opened is None or opened.closed else opened.info.backend_pid

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._opened is not None:
            self._opened.close()

    def call(
        self,
        work: Callable[[psycopg.Connection], Answer],
        transient: tuple[type[psycopg.Error], ...] = TRANSIENT,
        until: threading.Event | None = None,
    ) -> Answer:
        """Returns `work(connection)`, reconnecting until it succeeds or `until` (else `stopping`) is set.

        A schema that does not fit is waited for like a database that is away.

        `transient` errors are retried, too, on the same connection.
        """
        ended = until or self._stopping

        def sleep(seconds: float) -> None:
            ended.wait(seconds)

        retrying = Retrying(
            retry=retry_if_exception(lambda error: is_connection_error(error) or isinstance(error, transient)),
            wait=wait_exponential(multiplier=0.1, max=LONGEST_WAIT_S) + wait_random(0, min(0.5, LONGEST_WAIT_S)),
            stop=lambda _: ended.is_set(),
            sleep=sleep,
            before_sleep=self._log_retry,
            reraise=True,
        )
        return retrying(lambda: self._try(work))

    def _try(self, work: Callable[[psycopg.Connection], Answer]) -> Answer:
        """Returns `work(connection)`. OtherSchemaError for an error that is the schema's, and not a row's."""
        connection = self.current
        try:
            answer = work(connection)
        except psycopg.Error as error:
            if connection.closed or is_connection_error(error) or isinstance(error, TRANSIENT):
                raise
            if self._check_schema(connection) != self._version:
                raise OtherSchemaError(MIGRATED) from error
            if lacks_function(error):
                raise OtherSchemaError(LACKING) from error
            raise
        self._schema.end(self.purpose)
        return answer

    def _check_schema(self, connection: psycopg.Connection) -> SchemaVersion:
        with connection.transaction():
            if self._pooled:
                pin_path(connection, in_transaction=True)
            return self._schema.check(connection)

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, COLLISION):
            return
        away = error is not None and is_connection_error(error)
        if away:
            self.close()
            self._on_change(self.purpose, up=False)
        if isinstance(error, OtherSchemaError):
            self._schema.begin(self.purpose, error)
            return
        said = str(error) if isinstance(error, DatabaseUnavailableError) else type(error).__name__
        tell, event = get_logger().warning, "database_away" if away else "database_busy"
        if isinstance(error, DatabaseRefusedError):
            tell, event = get_logger().error, "database_refused"
        tell(event, purpose=self.purpose, tries=state.attempt_number, error=said)

    def rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows of a named statement that touches no table of a user."""
        return self.call(lambda connection: self._execute(connection, query(name), values))

    def value(self, name: str, **values: Any) -> Any:
        """Returns the first column of the first row."""
        return self.rows(name, **values)[0][0]

    def rows_once(
        self, name: str, values: Values, until: threading.Event | None = None, allowed_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement that touches users' tables: the caller handles locks and limits.

        Their code may leave settings, prepared statements, locks or temporary tables in the session; they are removed.
        It may also raise any error: what is no lost connection, nor a collision that passes, is a UserCodeError. Beyond
        `allowed_s`, or the limit of the connection, it is an OwnerTimeoutError.
        """
        tries = 0

        def work(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
            nonlocal tries
            tries += 1
            limit_s = self.limit.allowed(allowed_s)
            try:
                with self.limit.over(connection, limit_s):
                    return self._execute(connection, self.with_vector_type(name), values, limit_s)
            except psycopg.Error as error:
                if self._is_raised(connection, error, tries):
                    raise UserCodeError(error) from error
                raise
            finally:
                self.limit.clean(connection)

        return self.call(work, COLLISION, until)

    def _is_raised(self, connection: psycopg.Connection, error: psycopg.Error, tries: int) -> bool:
        """Tells that a user's code raised an error that would be retried without end."""
        if isinstance(error, COLLISION):
            return tries >= MOST_COLLISIONS
        if connection.closed or error.sqlstate is None or not is_connection_error(error):
            return False
        if isinstance(error, errors.ReadOnlySqlTransaction):
            return connection.execute(query("is_read_only")).fetchone() == (False,)
        return True

    def with_vector_type(self, name: str) -> sql.Composed:
        """Returns a named statement with the vector type, whose schema is known once there is a connection."""
        return sql.SQL(query(name)).format(vector=self._vector)

    def _execute(
        self, connection: psycopg.Connection, statement: Statement, values: Values, limit_s: float | None = None
    ) -> list[tuple[Any, ...]]:
        if not self._pooled:
            return connection.execute(statement, values).fetchall()
        with connection.transaction():
            pin_path(connection, in_transaction=True)
            if limit_s is not None:
                self.limit.limit_transaction(connection, limit_s)
            return connection.execute(statement, values).fetchall()
