"""The one session of a process that listens: hands each NOTIFY to those who subscribed to its channel.

Nothing else runs on that session, and one thread waits on it. Behind a pooler in transaction mode, which passes no
NOTIFY, there is neither, unless DATABASE_LISTEN_URL leads past it: who subscribes has a timeout as well.
"""

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

import psycopg
from psycopg import sql

from pgembedd.database.connection import RECONNECT, Connection
from pgembedd.database.schema_check import SchemaWait
from pgembedd.database.sessions import Sessions, ignore_change
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.settings.conninfo import listen_conninfo_from_environment

END_WITHIN_S = 1.0

Notified = Callable[[str | None], object]
"""Takes the payload of a NOTIFY; None where some may have been missed, as when a session begins to listen.

It is called in the thread of the listener, and must not wait.
"""


class Waker:
    """Ends the waits of one thread: once for each time that it is woken, and at once when the thread is to stop."""

    def __init__(self, stopping: threading.Event) -> None:
        """`wake` has to be called after `stopping` was set."""
        self._stopping, self._woken = stopping, threading.Event()

    def wake(self, _payload: str | None = None) -> None:
        """Ends the wait, or the next one."""
        self._woken.set()

    def wait(self, timeout_s: float | None) -> bool:
        """Waits until woken, at most `timeout_s` seconds; False where only the time has passed."""
        woken = self._stopping.is_set() or self._woken.wait(timeout_s)
        if woken:  # else what comes just after the timeout ends the next wait
            self._woken.clear()
        return woken


class Heard:
    """Notifications for one thread that waits for them; `put` is called for each NOTIFY."""

    def __init__(self) -> None:
        self._told: SimpleQueue[str | None] = SimpleQueue()
        self.put: Notified = self._told.put
        self.over = False

    def end(self) -> None:
        """Ends the wait for good."""
        self.over = True
        self.put(None)

    def drain(self, timeout_s: float, not_before: float = 0.0) -> list[str | None]:
        """Waits for something, at most so long; returns all that is there, at `not_before` of the monotonic clock."""
        told = list[str | None]()
        with suppress(Empty):
            told.append(self._told.get(timeout=timeout_s))
            if (pause_s := not_before - time.monotonic()) > 0:
                time.sleep(pause_s)
            for _ in range(self._told.qsize()):
                told.append(self._told.get_nowait())
        return told


@dataclass(eq=False)
class _Subscription:
    channel: str
    notified: Notified
    listens_on: psycopg.Connection | None = None


class Listener:
    """The channels that a process listens to. There is a session while there is a subscription."""

    def __init__(self, conninfo: str, *, pooled: bool = False, on_change: Callable[..., None] = ignore_change) -> None:
        """`pooled` and `on_change` are those of Sessions. DATABASE_LISTEN_URL takes the place of `conninfo`."""
        listen_conninfo = listen_conninfo_from_environment()
        self.hears = not pooled or listen_conninfo is not None
        self._closed = threading.Event()
        # A schema that does not fit is no reason not to listen.
        schema = SchemaWait(each=lambda _: None)
        self.sessions = Sessions(listen_conninfo or conninfo, "listen", on_change=on_change, schema=schema)
        self._subscriptions: list[_Subscription] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waker: socket.socket | None = None

    def subscribe(self, channel: str, notified: Notified) -> Callable[[], None]:
        """Calls `notified` for each NOTIFY on the channel, first as soon as it is listened to; returns what ends it."""
        subscription = _Subscription(channel, notified)
        with self._lock:
            self._subscriptions.append(subscription)
            if self.hears and self._thread is None:
                woken, self._waker = socket.socketpair()
                self._thread = threading.Thread(
                    target=self._run, args=(woken, self._waker), name="listener", daemon=True
                )
                self._thread.start()
        self._wake()
        return partial(self._unsubscribe, subscription)

    def _unsubscribe(self, subscription: _Subscription) -> None:
        with self._lock:
            self._subscriptions.remove(subscription)
        self._wake()

    def close(self) -> None:
        """Ends the thread and the session; a connection that is being opened ends by itself."""
        self._closed.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(END_WITHIN_S)

    def _wake(self) -> None:
        if self._waker is not None:
            with suppress(OSError):  # it is woken already, or has ended
                self._waker.send(b"\0", socket.MSG_DONTWAIT)

    # -- in the thread -----------------------------------------------------------------------------------

    def _run(self, woken: socket.socket, waker: socket.socket) -> None:
        connection = Connection(self.sessions, self._closed)
        with woken, waker, suppress(psycopg.Error, DatabaseUnavailableError):  # the end, while the database is away
            while not self._closed.is_set():
                if self._subscriptions:
                    if (lost := connection.call(partial(self._hear, woken), (psycopg.Error,))) is not None:
                        connection.note(lost)
                        self._closed.wait(RECONNECT.delay_s(1))
                else:
                    woken.recv(4096)

    def _hear(self, woken: socket.socket, connection: psycopg.Connection) -> psycopg.Error | None:
        """Hands on what comes over one session until that is lost, or nothing is subscribed to; then closes it.

        Returns what it was lost by: a session that has listened is no failure in succession. Raises it before.
        """
        listened: set[str] = set()
        try:
            self._hand_on(woken, connection, listened)
        except psycopg.Error as error:
            if not listened:
                raise
            return error
        finally:
            connection.close()
        return None

    def _hand_on(self, woken: socket.socket, connection: psycopg.Connection, listened: set[str]) -> None:
        """Keeps in `listened` the channels that the session listens to."""
        connection.add_notify_handler(lambda notice: self._notify(notice.channel, notice.payload))
        readable = select.poll()
        for file in (connection, woken):
            readable.register(file.fileno(), select.POLLIN)
        while not self._closed.is_set() and (subscriptions := self._subscriptions.copy()):
            channels = {one.channel for one in subscriptions}
            for word, changed in (("listen", channels - listened), ("unlisten", listened - channels)):
                for channel in changed:
                    connection.execute(sql.SQL(word + " {}").format(sql.Identifier(channel)))
            listened.clear()
            listened.update(channels)
            for one in subscriptions:
                if one.listens_on is not connection:
                    one.listens_on = connection
                    one.notified(None)
            while all(number != woken.fileno() for number, _ in readable.poll()):
                connection.pgconn.consume_input()  # as notifies() does, which takes a tenth of a millisecond more
                while notice := connection.pgconn.notifies():
                    self._notify(notice.relname.decode(), notice.extra.decode())
            woken.recv(4096)

    def _notify(self, channel: str, payload: str) -> None:
        for one in self._subscriptions.copy():
            if one.channel == channel:
                one.notified(payload)


def call_within(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    """Has `work` called in an event loop, unless that is closed, as when the process is about to end."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(work)
