"""Connections: how one is made, which errors are weather, and what a bad address says."""

from typing import Any

import psycopg
from psycopg import errors

from worker.errors import ConfigurationError, DatabaseUnavailableError

# The server is not there, going down, or not yet up: SQLSTATE classes 08 and 57P, or no answer at all.
_WEATHER = (
    errors.ConnectionException,
    errors.SqlclientUnableToEstablishSqlconnection,
    errors.ConnectionDoesNotExist,
    errors.ConnectionFailure,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.TooManyConnections,
)


def is_weather(error: BaseException) -> bool:
    """Whether the database went away, rather than refused: a reason to reconnect and do the same again."""
    if isinstance(error, DatabaseUnavailableError | _WEATHER):
        return True
    # A connection that broke in the middle raises OperationalError without any SQLSTATE.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None


def connect(conninfo: str, **options: Any) -> psycopg.Connection:
    """Open one connection. ConfigurationError where waiting cannot help, else DatabaseUnavailableError."""
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
        raise _explain(error) from error
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            "The connection string cannot be read: write postgresql://user@host:5432/database, or key=value pairs."
        ) from error


# A failed connection carries no SQLSTATE of its own in libpq, except through the server's message fields.
_REFUSED: dict[type[psycopg.Error], str] = {
    errors.InvalidPassword: "the password is wrong",
    errors.InvalidAuthorizationSpecification: "the role does not exist or may not log in",
    errors.InvalidCatalogName: "there is no such database",
    errors.InsufficientPrivilege: "the role may not connect to it",
}


def _explain(error: psycopg.OperationalError) -> ConfigurationError | DatabaseUnavailableError:
    where = _where(error)
    for kind, reason in _REFUSED.items():
        if isinstance(error, kind):
            return ConfigurationError(f"The database {where} refused us: {reason}.")
    answer = str(error).strip().splitlines() or ["no answer"]
    # libpq says where it tried, line after line; the reason stands behind the last colon.
    reason = answer[0].rsplit(": ", 1)[-1].rstrip(".")
    return DatabaseUnavailableError(f"The database {where} cannot be reached: {reason}.")


def _where(error: psycopg.OperationalError) -> str:
    if error.pgconn is None:
        return "(no address)"
    host, port, name, user = (
        value.decode() for value in (error.pgconn.host, error.pgconn.port, error.pgconn.db, error.pgconn.user)
    )
    return f'"{name}" at {host}:{port} (as {user})'
