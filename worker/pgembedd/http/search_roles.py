"""The roles whose rights searches have: a pool of connections for each, and what is checked of a role."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgembedd.database.connect import pin_path
from pgembedd.http.connection_pool import Database
from pgembedd.http.errors import Refusal
from pgembedd.http.tokens import Caller
from pgembedd.search.role import begin_search

NO_ROLE = (
    "This service has no role to search as: set PGEMBEDD_SEARCH_URL to the URL of a login role of its own, "
    "or give the token one with search=URL in the file of tokens."
)


class SearchRoles:
    """A small pool of connections for each role that callers search as."""

    def __init__(self, *, pooled: bool, timeout_s: float) -> None:
        """`pooled` says that a pooler hands every transaction to another server process."""
        self._pooled, self._timeout_s = pooled, timeout_s
        self._pools: dict[str, Database] = {}
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self, caller: Caller) -> Iterator[psycopg.Connection]:
        """Yields a connection in a transaction that has the claims of the caller.

        Refusal 501 where the caller has no role; 503. SearchRoleError for one with more rights than a search needs.
        """
        if not caller.search_url:
            raise Refusal(501, NO_ROLE, "no_search_role")
        with self._pool(caller.search_url).connection() as connection, connection.transaction():
            if self._pooled:
                pin_path(connection, in_transaction=True)
            begin_search(connection, caller.claims, self._timeout_s)
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
