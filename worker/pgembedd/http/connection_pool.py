"""The service's database connections: a small pool with a short timeout."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from pgembedd.database.connect import PinnedConnection
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.owners import check_owners
from pgembedd.database.queries import query
from pgembedd.database.schema_check import lacks_function
from pgembedd.errors import DatabaseRefusedError, DatabaseUnavailableError, SchemaError, SearchError
from pgembedd.http.errors.refusals import SERVICE_REMEDY, UNAVAILABLE, Refusal, refusal_of_database
from pgembedd.log import get_logger

MAX_CONNECTIONS = 4
WAIT_S = 5.0
_NO_LOG = logging.NullHandler()


class DatabasePool:
    """A pool of connections in autocommit, each used by one request at a time."""

    def __init__(
        self, conninfo: str, *, name: str = "http", cleaned: bool = False, remedy: str = SERVICE_REMEDY
    ) -> None:
        """Connects on first use. `cleaned`: what a request left in its session is removed before the next one.

        `remedy` says what to correct where the server refuses the connection.
        """
        # No prepared statements: a user's code, which a look at the tables runs, could replace them.
        options: dict[str, Any] = {"autocommit": True, "application_name": f"pgembedd {name}"}
        options["prepare_threshold"] = None
        self._pool = ConnectionPool(
            conninfo,
            kwargs=options,
            connection_class=self._connecting(),
            min_size=0,
            max_size=MAX_CONNECTIONS,
            max_waiting=64,
            timeout=WAIT_S,
            reconnect_timeout=WAIT_S,
            check=ConnectionPool.check_connection,
            open=False,
            name=name,
            reset=_clean if cleaned else None,
        )
        # Its warnings would be lines of text between our events; Refusal and /readyz report the same.
        logging.getLogger("psycopg.pool").propagate = False
        logging.getLogger("psycopg.pool").addHandler(_NO_LOG)
        self._lock = threading.Lock()
        self._opened = False
        self._trusted = False
        self._remedy = remedy
        self._refused: DatabaseRefusedError | None = None

    @contextmanager
    def connection(self, wait_s: float = WAIT_S) -> Iterator[PinnedConnection]:
        """Yields a connection within `wait_s` seconds. Refusal 503 without one, or when too many requests wait."""
        self._open()
        try:
            with self._pool.connection(wait_s) as connection:
                if not self._trusted:
                    self._check(connection)
                yield connection
        except (PoolTimeout, PoolClosed) as error:
            if (refused := self._refused) is None:
                raise Refusal(503, UNAVAILABLE, "database_unavailable") from error
            raise refusal_of_database(refused, self._remedy) from refused
        except TooManyRequests as error:
            raise Refusal(503, "Too many requests want the database at once; try again.", "busy") from error
        except (psycopg.Error, SearchError) as error:
            cause = error.__cause__ or error if isinstance(error, SearchError) else error
            if lacks_function(cause):
                self._trusted = False
            if is_connection_error(cause):
                raise Refusal(503, UNAVAILABLE, "database_unavailable") from error
            raise

    def _check(self, connection: PinnedConnection) -> None:
        """Refusal 503 where what our schema holds may not run with this role's rights."""
        try:
            check_owners(connection)
        except SchemaError as error:
            raise Refusal(503, str(error), "schema_unusable") from error
        self._trusted = True

    def _connecting(self) -> type[PinnedConnection]:
        """Returns the pool's class of connections, which notes that the server refuses them: the pool does not tell."""

        class Connecting(PinnedConnection):
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Self:
                try:
                    opened = super().connect(conninfo, **options)
                except DatabaseUnavailableError as error:
                    self._note(error)
                    raise
                self._refused = None
                return opened

        return Connecting

    def _note(self, error: DatabaseUnavailableError) -> None:
        """Keeps and logs that the server refuses connections, once until that is over."""
        before, self._refused = self._refused, error if isinstance(error, DatabaseRefusedError) else None
        if self._refused is not None and before is None:
            get_logger().error("database_refused", purpose=self._pool.name, tries=1, error=str(error))

    def _open(self) -> None:
        with self._lock:
            if not self._opened:
                self._pool.open()
                self._opened = True

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()


def _clean(connection: PinnedConnection) -> None:
    """Removes settings and the like: policies and functions of users ran in this session."""
    if connection.keeps_session:
        connection.execute(query("clean_session"))
