"""Opening a connection: libpq's limits, a pinned search_path, and an error in words."""

import os
from typing import Any

import psycopg

from pgembedd.conninfo import read_conninfo
from pgembedd.database.limit import LimitedConnection
from pgembedd.database.queries import query
from pgembedd.errors import DatabaseUnavailableError

# No name of ours is looked up in a schema that another role can fill. The role may have other defaults.
_SETTINGS = "-c search_path=pg_catalog,pg_temp -c standard_conforming_strings=on"


class PinnedConnection(LimitedConnection):
    """A connection whose session has these settings, after the user's own; without them where a pooler takes none."""

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> "PinnedConnection":
        """Opens one connection; `options` as for psycopg."""
        # libpq reads the variable only where there is no parameter.
        own = psycopg.conninfo.conninfo_to_dict(conninfo).get("options") or os.environ.get("PGOPTIONS", "")
        try:
            return super().connect(conninfo, **options | {"options": f"{own} {_SETTINGS}".strip()})
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):  # in PgBouncer's words; there is no SQLSTATE
                raise
            return super().connect(conninfo, **options)


def connect(conninfo: str, *, pinned: bool = True, **options: Any) -> psycopg.Connection:
    """Opens one connection. DatabaseUnavailableError, or ConfigurationError for a malformed connection string.

    Unless `pinned`, the session has the search_path of its role.
    """
    given = read_conninfo(conninfo)
    try:
        kind = PinnedConnection if pinned else LimitedConnection
        opened = kind.connect(conninfo, **_with_defaults(given, options))
    except psycopg.OperationalError as error:
        raise _explain(error, given) from error
    return opened


def reopened(connection: psycopg.Connection) -> psycopg.Connection:
    """Closes a connection, and opens another one to the same database as the same role, in autocommit."""
    parameters, password = connection.info.dsn, connection.info.password
    connection.close()
    return connect(parameters, password=password or None, autocommit=True)


async def connect_async(conninfo: str, **options: Any) -> psycopg.AsyncConnection:
    """Opens one connection for asyncio, with the search_path of its role. Errors as of connect()."""
    given = read_conninfo(conninfo)
    try:
        opened = await psycopg.AsyncConnection.connect(conninfo, **_with_defaults(given, options))
    except psycopg.OperationalError as error:
        raise _explain(error, given) from error
    return opened


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


def _explain(error: psycopg.OperationalError, given: dict[str, Any]) -> DatabaseUnavailableError:
    """Returns the error with libpq's reason and the address.

    libpq gives a failed connection no SQLSTATE, so a wrong password and a starting server look alike: a worker that
    was connected before retries after both, and both end a command.
    """
    answer = str(error).strip().splitlines() or ["no answer"]
    # One line per address tried, which we have named already; the reason stands behind the last colon, and a refused
    # setting in quotes behind another.
    before, _, reason = answer[0].strip().rstrip(".").rpartition(": ")
    if reason.startswith('"'):
        reason = f"{before.rpartition(': ')[2]}: {reason}"
    return DatabaseUnavailableError(f"The database {_where(error, given)} cannot be reached: {reason}.")


def _where(error: psycopg.OperationalError, given: dict[str, Any]) -> str:
    if error.pgconn is None:  # the name of the host was not found
        return f'"{given.get("dbname", "")}" at {given.get("host", "?")}'
    host, port, name, user = (
        value.decode() for value in (error.pgconn.host, error.pgconn.port, error.pgconn.db, error.pgconn.user)
    )
    return f'"{name}" at {host}:{port} (as {user})'
