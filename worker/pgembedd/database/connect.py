"""Opening a connection: libpq's limits, a pinned search_path, and an error in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from pgembedd.database.limit import LimitedConnection
from pgembedd.database.pooler import changes_sessions
from pgembedd.database.queries import query
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError
from pgembedd.settings.conninfo import read_conninfo

Opened = TypeVar("Opened", bound=psycopg.Connection)


class PinnedConnection(LimitedConnection):
    """A connection on which no name of ours is looked up in a schema that another role can fill.

    A statement sets the path, as a pooler may refuse or ignore settings at the start: for the session, or in each
    transaction behind a pooler that gives every transaction another session.
    """

    keeps_session = True

    def pin(self, *, pooled: bool | None) -> None:
        """Pins the path; closes the connection where that fails. Finds out whether there is a pooler for None."""
        dsn, password = self.info.dsn, self.info.password or None
        try:
            if pooled is None:
                pooled = changes_sessions(self, lambda: psycopg.Connection.connect(dsn, password=password))
            self.keeps_session = not pooled
            if self.keeps_session:
                pin_path(self, in_transaction=False)
            else:
                self.cursor_factory = _PinningCursor
        except psycopg.Error:
            self.close()
            raise

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Starts a transaction, or a savepoint within one, as psycopg does."""
        begins = self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if begins and not self.keeps_session:
                pin_path(self, in_transaction=True)
            yield transaction


class _PinningCursor(psycopg.Cursor[Any]):
    """A cursor that pins the path in the transaction that its statement begins."""

    def execute(self, *arguments: Any, **options: Any) -> "_PinningCursor":
        """Executes a statement, as psycopg does."""
        connection = self.connection
        if connection.info.transaction_status != TransactionStatus.IDLE:
            return super().execute(*arguments, **options)
        if connection.autocommit:
            with connection.transaction():
                return super().execute(*arguments, **options)
        psycopg.Cursor(connection).execute(query("pin_path"), {"in_transaction": True})
        return super().execute(*arguments, **options)


def connect(conninfo: str, *, autocommit: bool = False, pooled: bool | None = None, **options: Any) -> PinnedConnection:
    """Opens one connection. DatabaseUnavailableError, or ConfigurationError for a malformed connection string.

    DatabaseRefusedError where the server takes connections, and not this one. `pooled` says whether a pooler gives
    every transaction another session; None finds out.

    One that is lost before its path is pinned is psycopg's error, as it is afterwards.
    """
    opened = _open(PinnedConnection.connect, conninfo, options | {"autocommit": True})
    opened.pin(pooled=pooled)
    opened.autocommit = autocommit
    return opened


def connect_unpinned(conninfo: str, **options: Any) -> LimitedConnection:
    """Opens one connection with the search_path of its role, which the caller pins. Errors as of connect()."""
    return _open(LimitedConnection.connect, conninfo, options)


def _open(connect: Callable[..., Opened], conninfo: str, options: dict[str, Any]) -> Opened:
    given = read_conninfo(conninfo)
    options = _with_defaults(given, options)
    try:
        return connect(conninfo, **options)
    except psycopg.OperationalError as error:
        if not _takes_connections(error, conninfo):
            raise _unavailable(error, given) from error
    try:
        return connect(conninfo, **options)  # as it may have been starting
    except psycopg.OperationalError as error:
        raise (_unavailable if _lets_in(connect, conninfo, options) else _refused)(error, given) from error


def _lets_in(connect: Callable[..., psycopg.Connection], conninfo: str, options: dict[str, Any]) -> bool:
    """Returns True where a server lets the role in, but is a standby, which target_session_attrs excludes."""
    try:
        connect(conninfo, **options | {"target_session_attrs": "any"}).close()
    except psycopg.OperationalError:
        return False
    return True


def reopened(connection: psycopg.Connection) -> PinnedConnection:
    """Closes a connection, and opens another one to the same database as the same role, in autocommit."""
    parameters, password = connection.info.dsn, connection.info.password
    connection.close()
    return connect(parameters, password=password or None, autocommit=True)


def _with_defaults(given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "pgembedd",
        # A network that goes silent is noticed within half a minute, with a statement on its way or without.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        # Code of a user's could put another statement under the name of a prepared one.
        "prepare_threshold": None,
    }
    # Texts and JSON are read as UTF-8, whatever the encoding of the database, or of the environment.
    encoding = {"client_encoding": "utf8"}
    return {name: value for name, value in defaults.items() if name not in given} | encoding | options


def pin_path(connection: psycopg.Connection, *, in_transaction: bool) -> None:
    """Pins the search_path of a session that was opened without it; for the transaction or for good."""
    connection.execute(query("pin_path"), {"in_transaction": in_transaction})


def _takes_connections(error: psycopg.OperationalError, conninfo: str) -> bool:
    """Returns True where the server answers and is neither starting nor stopping, whatever it thinks of the role.

    libpq gives a failed connection no SQLSTATE; a ping tells a refusal from an outage.
    """
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return False
    asked = psycopg.conninfo.make_conninfo(conninfo, connect_timeout=2)
    return psycopg.pq.PGconn.ping(asked.encode()) == psycopg.pq.Ping.OK


def _unavailable(error: psycopg.OperationalError, given: dict[str, Any]) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(f"The database {_where(error, given)} cannot be reached: {_reason(error)}.")


def _refused(error: psycopg.OperationalError, given: dict[str, Any]) -> DatabaseRefusedError:
    return DatabaseRefusedError(
        f"The database {_where(error, given)} refuses the connection: {_reason(error)}. Correct the connection string, "
        "or what the server allows this role.",
        _reason(error),
    )


def _reason(error: psycopg.OperationalError) -> str:
    """Returns the reason that libpq gives, without the addresses that it tried."""
    answer = str(error).strip().splitlines() or ["no answer"]
    # One line per address tried, which we have named already; the reason stands behind the last colon, and a refused
    # setting in quotes behind another.
    before, _, reason = answer[0].strip().rstrip(".").rpartition(": ")
    return f"{before.rpartition(': ')[2]}: {reason}" if reason.startswith('"') else reason.lstrip()


def _where(error: psycopg.OperationalError, given: dict[str, Any]) -> str:
    if error.pgconn is None:  # the name of the host was not found
        return f'"{given.get("dbname", "")}" at {given.get("host", "?")}'
    host, port, name, user = (
        value.decode() for value in (error.pgconn.host, error.pgconn.port, error.pgconn.db, error.pgconn.user)
    )
    return f'"{name}" at {host}:{port} (as {user})'
