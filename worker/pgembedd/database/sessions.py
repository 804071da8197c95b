"""The sessions of a process with the database: opened on demand, shared by its threads, closed when they are not used.

A session is prepared when it is opened. One that the server has ended is found when it is taken, without a round trip;
else by its next statement, which a Connection repeats over another session.
"""

import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pgembedd.database.connect import PinnedConnection, connect, connect_unpinned
from pgembedd.database.encoding import replace_foreign_characters
from pgembedd.database.limit import SessionLimit
from pgembedd.database.queries import query
from pgembedd.database.schema_check import SchemaVersion, SchemaWait
from pgembedd.database.vector_codec import find_vector_type
from pgembedd.errors import DatabaseUnavailableError, OtherSchemaError

IDLE_S = 30.0  # after which a session that is not used is closed
WAIT_S = 0.25  # between two looks at whether one that waits for a session is to stop


def ignore_change(purpose: str, *, up: bool) -> None:
    """The `on_change` of sessions that have no observer."""


class Session:
    """One session, for one thread at a time."""

    def __init__(self, connection: PinnedConnection, limit: SessionLimit, version: SchemaVersion | None) -> None:
        self.connection, self.limit, self.version = connection, limit, version
        self.process = connection.info.backend_pid
        self._vector = (find_vector_type(connection) or sql.Identifier("vector")).as_bytes(connection)
        self.unused_since = time.monotonic()
        self._said = select.poll()
        self._said.register(connection.fileno(), select.POLLIN)

    def statement(self, name: str) -> bytes:
        """Returns the named statement, with the name that the vector type has here."""
        return query(name).encode().replace(b"{vector}", self._vector)

    def is_alive(self) -> bool:
        """Tells that the server has not ended it, as far as it has said so."""
        # What comes unasked is its end, or nothing that will be missed.
        return not (self.connection.closed or self._said.poll(0))


class Sessions:
    """Sessions of one kind: at most `most` at a time."""

    def __init__(
        self,
        conninfo: str,
        purpose: str,
        *,
        most: int = 1,
        prepares: bool = False,
        pooled: bool | None = False,
        limit_s: float | None = None,
        last_wait_s: float = 0.0,
        on_change: Callable[..., None] = ignore_change,
        schema: SchemaWait | None = None,
    ) -> None:
        """`purpose` is shown in pg_stat_activity.

        `prepares` statements: only where no user's code runs, which could put another one under the name. `pooled` says
        that a pooler hands every transaction to another server process, so that nothing may be set for the session;
        None finds out. Users' code gets `limit_s`. One that is to stop still waits `last_wait_s` for a
        session that others use. `on_change(purpose, up=…)` is called when one was opened or lost, and when one works
        after a loss. `schema` is shared by the sessions of a process.
        """
        self._conninfo, self.purpose, self._most = conninfo, purpose, most
        self._pooled, self._on_change, self._prepares = pooled, on_change, prepares
        self.limit_s = self._given_limit_s = limit_s
        self._last_wait_s = last_wait_s
        self.schema = schema or SchemaWait()
        self._all: list[Session] = []
        self._unused: list[Session] = []
        self._taken = 0
        self._line: deque[object] = deque()  # who wants a session, in the order of their turns
        self._up = True
        self._losses_ended = 0
        self._changed = threading.Condition()

    @contextmanager
    def session(self, until: threading.Event, wait_s: float = inf) -> Iterator[Session]:
        """Yields a session that no other thread uses; errors as of `take`."""
        session = self.take(until, wait_s)
        try:
            yield session
        finally:
            self.give_back(session)

    def take(self, until: threading.Event, wait_s: float = inf) -> Session:
        """Returns a session that no other thread uses, opened if needed; to be given back.

        DatabaseUnavailableError where it cannot be opened, or where none was given back in `wait_s` seconds, or in time
        once `until` was set.
        """
        taken = self._take(until, wait_s)
        try:
            return taken or self._open(wait_s)
        except BaseException:
            self.give_back(None)
            raise

    def are_wanted_by(self, threads: int) -> bool:
        """Tells that all are in use, and that so many threads wait for one."""
        return self._taken >= self._most and len(self._line) >= threads

    def processes(self) -> list[int]:
        """Returns the ids of the server's processes for its sessions; none behind a pooler."""
        return [one.process for one in self._all if one.connection.keeps_session and not one.connection.closed]

    def works(self) -> None:
        """Notes that a session works. After a loss that may be one that was in use and was not lost."""
        if not self._up:
            self._note(up=True)

    def lost(self) -> None:
        """Notes that a session was lost, or could not be opened: the unused ones are likely lost, too."""
        self.close()
        self._note(up=False)

    def sleep(self, seconds: float, until: threading.Event) -> None:
        """Waits after a loss: so long, or until another thread has a session again, or `until` is set."""
        with self._changed:
            ends_at, losses = time.monotonic() + seconds, self._losses_ended
            while not until.is_set() and losses == self._losses_ended and (left_s := ends_at - time.monotonic()) > 0:
                self._changed.wait(min(WAIT_S, left_s))

    def _note(self, *, up: bool) -> None:
        with self._changed:
            self._losses_ended += up and not self._up
            self._up = up
            self._changed.notify_all()
        self._on_change(self.purpose, up=up)

    def close(self, unused_s: float = 0.0) -> None:
        """Closes the sessions that have not been used for `unused_s` seconds."""
        with self._changed:
            old = [one for one in self._unused if time.monotonic() - one.unused_since >= unused_s]
            self._unused = [one for one in self._unused if one not in old]
        for one in old:
            one.connection.close()

    def _take(self, until: threading.Event, wait_s: float) -> Session | None:
        """Takes the session that was used last, or the place of one that is to be opened."""
        with self._changed:
            if self._line or self._taken >= self._most:
                self._wait_for_turn(until, time.monotonic() + wait_s)
            self._taken += 1
            while self._unused:
                session = self._unused.pop()
                if session.is_alive():
                    return session
                session.connection.close()
                self._note(up=False)
        return None

    def _wait_for_turn(self, until: threading.Event, ends_at: float) -> None:
        """Waits in line: a thread that takes sessions without a pause would leave none to others."""
        turn = object()
        self._line.append(turn)
        try:
            while self._taken >= self._most or self._line[0] is not turn:
                if until.is_set():
                    ends_at = min(ends_at, time.monotonic() + self._last_wait_s)
                    until = threading.Event()
                if (left_s := ends_at - time.monotonic()) <= 0:
                    raise DatabaseUnavailableError(f"All {self._most} sessions are in use.")
                self._changed.wait(min(WAIT_S, left_s))
        finally:
            self._line.remove(turn)
            self._changed.notify_all()

    def give_back(self, session: Session | None) -> None:
        """Leaves a session to other threads; None where it could not be opened."""
        if session is not None and session.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            session.connection.close()
        with self._changed:
            self._taken -= 1
            if session is not None and not session.connection.closed:
                session.unused_since = time.monotonic()
                self._unused.append(session)
            self._changed.notify_all()

    def _open(self, wait_s: float) -> Session:
        options: dict[str, Any] = {} if wait_s == inf else {"connect_timeout": max(2, round(wait_s))}
        if self._prepares and not self._pooled:
            options["prepare_threshold"] = 0
        opened = connect(
            self._conninfo,
            autocommit=True,
            pooled=self._pooled,
            application_name=f"pgembedd {self.purpose}",
            **options,
        )
        pooled = not opened.keeps_session
        limit = SessionLimit(self._given_limit_s, self.purpose, self._end_process, pooled=pooled)
        try:
            with opened.transaction():
                limit.open(opened)
                self.limit_s = limit.limit_s
                replace_foreign_characters(opened)
                session = Session(opened, limit, self.schema.check(opened))
        except (psycopg.Error, OtherSchemaError) as error:
            opened.close()  # half prepared, it would serve the next call
            if isinstance(error, OtherSchemaError):
                raise
            raise DatabaseUnavailableError(f"The session could not be prepared: {type(error).__name__}.") from error
        with self._changed:
            self._all = [one for one in self._all if not one.connection.closed] + [session]
        self._note(up=True)
        return session

    def check_schema(self, session: Session) -> SchemaVersion | None:
        """Returns the version that the schema has by now. OtherSchemaError where it does not fit."""
        with session.connection.transaction():
            return self.schema.check(session.connection)

    def _end_process(self, process: int) -> None:
        with connect_unpinned(self._conninfo, autocommit=True, connect_timeout=2) as other:
            other.execute(query("end_process"), {"process": process})
