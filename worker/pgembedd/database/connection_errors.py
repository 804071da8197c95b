"""Classifies errors of Postgres: a lost connection, a collision, contention, or code of a user's."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from pgembedd.errors import DatabaseUnavailableError
from pgembedd.log import get_logger

# Two transactions collided; the statement is repeated.
COLLISION = (errors.DeadlockDetected, errors.SerializationFailure)

# Another session's lock, or the server's limits, stood in the way: no fault of the row's.
CONTENTION = (errors.LockNotAvailable, errors.OutOfMemory, errors.DiskFull)

# Transient for a statement that touches no table of a user. For one that does, a time limit is too short either for
# the batch, which is then halved, or for a single row, which then fails.
TRANSIENT = (*COLLISION, *CONTENTION, errors.QueryCanceled)

# psycopg's own complaints about a statement or its parameters: the connection is as good as before.
_OWN_ERRORS = (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)

# The server is unreachable, shutting down or starting up: SQLSTATE classes 08 and 57P, or no answer.
_CONNECTION_ERROR_CLASSES = ("08", "57P")
_CONNECTION_ERRORS = (
    DatabaseUnavailableError,
    errors.TooManyConnections,
    errors.ReadOnlySqlTransaction,  # a standby since a failover, or a provider's authenticator against a full disk
)


class UserCodeError(psycopg.DatabaseError):
    """An error that a user's code raised under the name of another one: of a lost connection, or of a collision."""

    def __init__(self, raised: psycopg.Error) -> None:
        super().__init__(str(raised))
        self.raised, self.sqlstate = raised, raised.sqlstate

    @property
    def diag(self) -> psycopg.errors.Diagnostic:
        """The details of the error that was raised."""
        return self.raised.diag


def is_connection_error(error: BaseException) -> bool:
    """Returns True if the connection was lost, so that the caller reconnects and repeats the call."""
    if isinstance(error, UserCodeError):
        return False
    if isinstance(error, _CONNECTION_ERRORS):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if not error.sqlstate:
        # It broke in the middle, or the answers are not those to what was asked: "received 2 results from BEGIN".
        return not isinstance(error, _OWN_ERRORS)
    return error.sqlstate.startswith(_CONNECTION_ERROR_CLASSES)


@contextmanager
def log_errors(event: str, **fields: object) -> Iterator[None]:
    """Logs an error of the database as this event, after which the caller goes on; raises a lost connection."""
    try:
        yield
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        get_logger().error(event, **fields, error=type(error).__name__, sqlstate=error.sqlstate)
