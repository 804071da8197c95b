"""Connections: how one is made, which errors are weather, and what a bad address says."""

from typing import Any

import psycopg
from psycopg import errors

from pgembedd.errors import ConfigurationError, DatabaseUnavailableError

# The server is not there, going down, or not yet up: SQLSTATE classes 08 and 57P, or no answer at all.
_CONNECTION_ERROR_CLASSES = ("08", "57P")
_CONNECTION_ERRORS = (
    DatabaseUnavailableError,
    errors.TooManyConnections,
    errors.ReadOnlySqlTransaction,  # a standby since a failover, or a provider's authenticator against a full disk
)


def is_connection_error(error: BaseException) -> bool:
    """Whether the database went away, rather than refused: a reason to reconnect and do the same again."""
    if isinstance(error, _CONNECTION_ERRORS):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # A connection that broke in the middle raises OperationalError without any SQLSTATE.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_CONNECTION_ERROR_CLASSES)


def connect(conninfo: str, **options: Any) -> psycopg.Connection:
    """Open one connection. DatabaseUnavailableError, or ConfigurationError for an address that cannot be read."""
    defaults: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "pgembedd",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    try:
        given = psycopg.conninfo.conninfo_to_dict(conninfo)
        chosen = {name: value for name, value in defaults.items() if name not in given} | options
        return psycopg.connect(conninfo, **chosen)
    except psycopg.OperationalError as error:
        raise _explain(error, given) from error
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            "The connection string cannot be read: write postgresql://user@host:5432/database, or key=value pairs."
        ) from error


def _explain(error: psycopg.OperationalError, given: dict[str, Any]) -> DatabaseUnavailableError:
    """libpq gives a failed connection no SQLSTATE, so a wrong password and a server that starts up look alike.

    Hence both are weather to a worker that was connected before, and both end a command, with what libpq said.
    """
    answer = str(error).strip().splitlines() or ["no answer"]
    # One line per address tried, which we have named already; the reason stands behind the last colon.
    reason = answer[0].rsplit(": ", 1)[-1].strip().rstrip(".")
    return DatabaseUnavailableError(f"The database {_where(error, given)} cannot be reached: {reason}.")


def _where(error: psycopg.OperationalError, given: dict[str, Any]) -> str:
    if error.pgconn is None:  # the name of the host was not found
        return f'"{given.get("dbname", "")}" at {given.get("host", "?")}'
    host, port, name, user = (
        value.decode() for value in (error.pgconn.host, error.pgconn.port, error.pgconn.db, error.pgconn.user)
    )
    return f'"{name}" at {host}:{port} (as {user})'
