"""The service's connections: a small pool that answers soon, with a connection or with a refusal."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from pgembedd.database.connection import is_connection_error
from pgembedd.http.errors import Refusal

MAX_CONNECTIONS = 4
WAIT_S = 5.0
_SILENCE = logging.NullHandler()
AWAY = "The database cannot be reached at the moment; try again."


class Database:
    """Connections in autocommit, for a request at a time."""

    def __init__(self, conninfo: str, *, prepare: bool = True) -> None:
        """Nothing is connected before it is asked for; `prepare` is off behind poolers of transactions."""
        options: dict[str, Any] = {"autocommit": True, "application_name": "pgembedd http"}
        if not prepare:
            options["prepare_threshold"] = None
        self._pool = ConnectionPool(
            conninfo,
            kwargs=options,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            max_waiting=64,
            timeout=WAIT_S,
            reconnect_timeout=WAIT_S,
            check=ConnectionPool.check_connection,
            open=False,
            name="http",
        )
        # Else its warnings stand between our events, as lines of text; what they say a Refusal says, and /readyz.
        logging.getLogger("psycopg.pool").propagate = False
        logging.getLogger("psycopg.pool").addHandler(_SILENCE)
        self._lock = threading.Lock()
        self._opened = False

    @contextmanager
    def connection(self, wait_s: float = WAIT_S) -> Iterator[psycopg.Connection]:
        """A connection, within `wait_s` seconds. Refusal 503 when it is away, or too many requests want one."""
        self._open()
        try:
            with self._pool.connection(wait_s) as connection:
                yield connection
        except (PoolTimeout, PoolClosed) as error:
            raise Refusal(503, AWAY, "database_unavailable") from error
        except TooManyRequests as error:
            raise Refusal(503, "Too many requests want the database at once; try again.", "busy") from error
        except psycopg.Error as error:
            if is_connection_error(error):
                raise Refusal(503, AWAY, "database_unavailable") from error
            raise

    def _open(self) -> None:
        with self._lock:
            if not self._opened:
                self._pool.open()
                self._opened = True

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
