"""The check whether this program works with the schema of a database, and the wait of a worker until it does."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import errors

from pgembedd.database.own_version import HEAD, INTERFACE
from pgembedd.database.owners import check_owners
from pgembedd.database.rights import no_rights
from pgembedd.errors import OtherSchemaError, PgembeddError, SchemaError
from pgembedd.log import get_logger

_REMEDY = "run `pgembedd migrate`."
_UNKNOWN = (
    errors.AmbiguousFunction,
    errors.InvalidSchemaName,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
    errors.UndefinedTable,
)
_OF_JOBS = ("claim", "push", "store")  # purposes of connections begin so
MIGRATED = "This database was migrated while a statement ran, which is repeated."
LACKING = (
    "This database lacks a function that this program calls: run `pgembedd migrate`, or the version of pgembedd that "
    "has migrated it."
)


def lacks_function(error: BaseException | None) -> bool:
    """Tells that a statement of ours names what the database does not have. An error in a function has a context."""
    return isinstance(error, _UNKNOWN) and error.diag.context is None


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The version of the schema of a database; `functions` is the digest of its sql/."""

    revision: str
    functions: str | None


def check_schema(connection: psycopg.Connection) -> SchemaVersion:
    """Returns the version of a schema that this program works with: of its interface, at its revision or a later one.

    SchemaError for any other, ConfigurationError for a role that may call nothing of ours.
    """
    check_owners(connection)
    try:
        row = connection.execute("select revision, sql_digest, interface from pgembedd.schema_version()").fetchone()
    except errors.UndefinedColumn:
        row = None  # of the first release, which had no number
    except (errors.InvalidSchemaName, errors.UndefinedFunction, errors.UndefinedTable) as error:
        raise SchemaError(f"This database has no pgembedd schema: {_REMEDY}") from error
    except errors.InsufficientPrivilege as error:
        raise no_rights(connection) from error
    revision, functions, interface = row if row else (None, None, None)
    if interface is not None and interface > INTERFACE:
        raise SchemaError(
            f"This database has interface {interface} of pgembedd, newer than this program's {INTERFACE}: "
            "upgrade pgembedd."
        )
    if interface != INTERFACE or revision is None or revision < HEAD:
        at = f"schema {revision or 'none'}" if interface == INTERFACE else f"interface {interface or 'none'}"
        needed = HEAD if interface == INTERFACE else INTERFACE
        raise SchemaError(f"This database is at pgembedd {at}, this program needs {needed}: {_REMEDY}")
    return SchemaVersion(revision, functions)


def refuse_newer(revision: str | None) -> None:
    """Raises SchemaError when the database is at a revision that this program cannot migrate."""
    if revision is not None and revision > HEAD:
        raise SchemaError(
            f"This database is at pgembedd schema {revision}, newer than this program's {HEAD}: upgrade pgembedd."
        )


class SchemaWait:
    """The wait of a process's connections for a schema that fits. Its reason is logged once, and its end."""

    def __init__(
        self,
        check: Callable[[psycopg.Connection], object] | None = None,
        *,
        each: Callable[[psycopg.Connection], SchemaVersion | None] = check_schema,
    ) -> None:
        """`check` raises what keeps a worker from working; once it raises nothing, there is only `each`.

        `each` is asked of each session, and returns the version of the schema.
        """
        self._first_check, self._each = check, each
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._said = ""

    def check(self, connection: psycopg.Connection) -> SchemaVersion | None:
        """Returns the version of the schema. OtherSchemaError while it does not fit."""
        try:
            if self._first_check is not None:
                self._first_check(connection)
                self._first_check = None
            return self._each(connection)
        except PgembeddError as error:
            raise OtherSchemaError(str(error)) from error

    def begin(self, purpose: str, error: OtherSchemaError) -> None:
        """Notes that the connection of this purpose waits."""
        with self._lock:
            self._waiting.add(purpose)
            said, self._said = self._said, str(error)
            if said != self._said:
                get_logger().warning("schema_waits", why=self._said)

    def end(self, purpose: str) -> None:
        """Notes that the connection of this purpose works."""
        if purpose not in self._waiting:
            return
        with self._lock:
            self._waiting.discard(purpose)
            if not self._waiting and self._said:
                self._said = ""
                get_logger().info("schema_fits")

    def stops_jobs(self) -> bool:
        """Tells that a connection by which jobs are claimed or stored waits."""
        return any(purpose.startswith(_OF_JOBS) for purpose in self._waiting.copy())
