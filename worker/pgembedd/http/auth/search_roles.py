"""The roles whose rights searches have: a pool of connections for each, and what is checked of a role."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg

from pgembedd.database.queries import query
from pgembedd.database.text_rows import text_rows
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.connection_pool import DatabasePool
from pgembedd.http.errors.refusals import Refusal
from pgembedd.search.role import begin_search, check_role, session_values

NO_ROLE = (
    "This service has no role to search as: set PGEMBEDD_SEARCH_URL to the URL of a login role of its own, "
    "or give the token one with search=URL in the file of tokens."
)
REMEDY = (
    "Correct the URL of the role that searches (PGEMBEDD_SEARCH_URL, or search=URL in the file of tokens), or what the "
    "server allows that role."
)
ROLE_LOOK_S = 5.0  # between two looks at what the role of a session may do, where it reads for the same caller


class SearchRoles:
    """A small pool of connections for each role that callers search as."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pools: dict[tuple[str, str], DatabasePool] = {}
        self._lock = threading.Lock()
        self._kept: WeakKeyDictionary[psycopg.Connection, tuple[dict[str, Any], float]] = WeakKeyDictionary()
        """What the sessions of `rows` have set, and until when their role needs no other look."""

    @contextmanager
    def transaction(self, caller: Caller) -> Iterator[psycopg.Connection]:
        """Yields a connection in a transaction that has the claims of the caller.

        Refusal 501 where the caller has no role; 503. SearchRoleError for one with more rights than a search needs.
        """
        with self._pool(caller, "search").connection() as connection, connection.transaction():
            begin_search(connection, caller.claims, self._timeout_s)
            yield connection

    def rows(self, caller: Caller, statement: LiteralString, values: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Returns the rows of a statement that runs no code of users, with the claims of the caller, in one round trip.

        Its values and columns are texts.
        Refusal 501, 503; SearchRoleError; psycopg.Error.
        """
        with self._pool(caller, "answers").connection() as connection:
            wanted = session_values(caller.claims, self._timeout_s, local=not connection.keeps_session)
            kept, until = self._kept.get(connection, (None, 0.0))
            if kept == wanted and time.monotonic() < until:
                return text_rows(connection, statement, values)
            self._kept.pop(connection, None)
            # Sent together they are one transaction in autocommit; behind a pooler each would have its own. Claims are
            # parameters, as the text of a statement may be kept in the server's log.
            with connection.pipeline(), nullcontext() if connection.keeps_session else connection.transaction():
                setting = connection.execute(query("search_session"), wanted)
                found = connection.execute(statement, values)
                check_role(session := setting.fetchone())
                rows = found.fetchall()
            if connection.keeps_session and session and session[-1] == connection.info.backend_pid:  # no pooler
                self._kept[connection] = wanted, time.monotonic() + ROLE_LOOK_S
            return rows

    def _pool(self, caller: Caller, name: str) -> DatabasePool:
        """Returns a pool of the caller's role; the sessions of `search` are cleaned, as code of users runs in them."""
        if not (url := caller.search_url):
            raise Refusal(501, NO_ROLE, "no_search_role")
        with self._lock:
            if (name, url) not in self._pools:
                self._pools[name, url] = DatabasePool(url, name=name, cleaned=name == "search", remedy=REMEDY)
            return self._pools[name, url]

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
