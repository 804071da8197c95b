"""The roles whose rights searches have: a pool of connections for each, and what is checked of a role."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgembedd.database.connect import pin_path
from pgembedd.database.queries import query
from pgembedd.http.connection_pool import Database
from pgembedd.http.errors import Refusal
from pgembedd.http.tokens import Caller

NO_ROLE = (
    "This service has no role to search as: set PGEMBEDD_HTTP_SEARCH_URL to the URL of a login role of its own, "
    "or give the token one with search=URL in the file of tokens."
)


class SearchRoles:
    """A small pool of connections for each role that callers search as."""

    def __init__(self, *, pooled: bool, timeout_s: float) -> None:
        """`pooled` says that a pooler hands every transaction to another server process."""
        self._pooled, self._timeout_ms = pooled, str(round(timeout_s * 1000))
        self._pools: dict[str, Database] = {}
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self, caller: Caller) -> Iterator[psycopg.Connection]:
        """Yields a connection in a transaction that has the claims of the caller.

        Refusal 501 where the caller has no role, or one with more rights than a search should have; 503.
        """
        if not caller.search_url:
            raise Refusal(501, NO_ROLE, "no_search_role")
        claims = "" if caller.claims is None else json.dumps(caller.claims)
        with self._pool(caller.search_url).connection() as connection, connection.transaction():
            if self._pooled:
                pin_path(connection, in_transaction=True)
            row = connection.execute(query("search_session"), {"claims": claims, "milliseconds": self._timeout_ms})
            role, fault = (row.fetchone() or ("?", "is unknown"))[:2]
            if fault is not None:
                raise Refusal(
                    501,
                    f'The role "{role}" that searches {fault}: it has to be a login role of its own (CREATE ROLE … '
                    "LOGIN NOINHERIT), in no other role, that owns nothing.",
                    "search_role_refused",
                )
            yield connection

    def _pool(self, url: str) -> Database:
        with self._lock:
            if url not in self._pools:
                self._pools[url] = Database(url, pooled=self._pooled, name="search", cleaned=not self._pooled)
            return self._pools[url]

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
