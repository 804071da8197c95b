"""The service's sessions with the database: few, each for one request at a time, and with a short wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgembedd.database.connect import PinnedConnection
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.owners import check_owners
from pgembedd.database.schema_check import SchemaWait, lacks_function
from pgembedd.database.sessions import Session, Sessions
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaError, SearchError
from pgembedd.http.errors.refusals import SERVICE_REMEDY, UNAVAILABLE, Refusal, refusal_of_database
from pgembedd.log import get_logger

MAX_CONNECTIONS = 4
MAX_WAITING = 32  # so that requests of one role leave most of app.THREADS to others
WAIT_S = 5.0
IDLE_S = 600.0


class DatabasePool:
    """Sessions in autocommit, each used by one request at a time."""

    def __init__(
        self, conninfo: str, *, name: str = "http", cleaned: bool = False, remedy: str = SERVICE_REMEDY
    ) -> None:
        """Connects on first use. `cleaned`: what a request left in its session is removed before the next one.

        `remedy` says what to correct where the server refuses the connection.
        """
        self._sessions = Sessions(
            conninfo,
            name,
            most=MAX_CONNECTIONS,
            pooled=None,
            schema=SchemaWait(each=lambda _: None),  # a search needs what its role may call, and no revision
        )
        self._cleaned, self._remedy = cleaned, remedy
        self._closed = threading.Event()
        self._trusted = self._is_refused = False

    @contextmanager
    def connection(self, wait_s: float = WAIT_S) -> Iterator[PinnedConnection]:
        """Yields a connection within `wait_s` seconds. Refusal 503 without one, or when too many requests wait."""
        session = self._take(wait_s)
        try:
            if not self._trusted:
                self._check(session.connection)
            yield session.connection
        except (psycopg.Error, SearchError) as error:
            cause = error.__cause__ or error if isinstance(error, SearchError) else error
            if lacks_function(cause):
                self._trusted = False
            if is_connection_error(cause):
                session.connection.close()
                self._sessions.lost()
                raise Refusal(503, UNAVAILABLE, "database_unavailable") from error
            raise
        finally:
            try:
                if self._cleaned:  # policies and functions of users ran in it
                    session.limit.clean(session.connection)
            finally:
                self._sessions.give_back(session)
                self._sessions.close(0.0 if self._closed.is_set() else IDLE_S)

    def _take(self, wait_s: float) -> Session:
        if self._sessions.are_wanted_by(MAX_WAITING):
            raise Refusal(503, "Too many requests want the database at once; try again.", "busy")
        try:
            session = self._sessions.take(self._closed, wait_s)
        except DatabaseRefusedError as error:
            if not self._is_refused:
                get_logger().error("database_refused", purpose=self._sessions.purpose, tries=1, error=str(error))
            self._is_refused = True
            raise refusal_of_database(error, self._remedy) from error
        except (psycopg.Error, DatabaseUnavailableError) as error:
            raise Refusal(503, UNAVAILABLE, "database_unavailable") from error
        self._is_refused = False
        return session

    def _check(self, connection: PinnedConnection) -> None:
        """Refusal 503 where what our schema holds may not run with this role's rights."""
        try:
            check_owners(connection)
        except SchemaError as error:
            raise Refusal(503, str(error), "schema_unusable") from error
        self._trusted = True

    def close(self) -> None:
        """Closes the connections; one in use, when it is given back."""
        self._closed.set()
        self._sessions.close()
