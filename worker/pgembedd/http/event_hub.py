"""Who follows the events: one connection listens for all of them, and only while there is somebody.

The readers belong to the event loop; one thread listens and hands over what it hears. Nobody is ever waited for: a
reader whose queue is full gets no more.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psycopg

from pgembedd.database.event_channel import GAP, Channel, Event, EventFilter, gap
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.http.errors import Refusal
from pgembedd.log import get_logger

KEPT = 500  # of the newest events, for a reader that comes back; as many may wait for a reader
HEARING_S = 0.5
LINGER_S = 30.0  # after the last reader has left: one that lost its connection comes back in a few seconds


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its place among those that this service heard."""

    nth: int
    event: Event
    epoch: str

    @property
    def text(self) -> bytes:
        """As it goes over the wire."""
        return f"id: {self.epoch}-{self.nth}\nevent: {self.event.word}\ndata: {self.event.json}\n\n".encode()


class Reader:
    """One client: what waits for it, and whether it was too slow."""

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self.waiting: deque[bytes] = deque()
        self.listening = False  # from here on nothing is missed
        self.dropped = False
        self.over = False
        self.news = asyncio.Event()

    def put(self, told: NumberedEvent) -> None:
        """One more, unless it is too many."""
        if self.dropped or not self.wanted.takes(told.event):
            return
        if len(self.waiting) >= KEPT:
            self.dropped = True
            get_logger().warning("events_reader_dropped", waiting=len(self.waiting))
        else:
            self.waiting.append(told.text)
        self.news.set()

    def take(self) -> bytes:
        """All that waits."""
        self.news.clear()
        taken = b"".join(self.waiting)
        self.waiting.clear()
        return taken


class EventHub:
    """All readers of a service."""

    def __init__(self, conninfo: str, stopping: threading.Event, *, most: int) -> None:
        """At most `most` readers at a time."""
        self._conninfo, self._stopping, self._most = conninfo, stopping, most
        self._readers: set[Reader] = set()
        self._kept: deque[NumberedEvent] = deque(maxlen=KEPT)
        self._epoch = ""  # of an unbroken time of listening; "" while nobody listens
        self._nth = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._alone_since = 0.0

    def join(self, wanted: EventFilter, last_id: str | None = None) -> Reader:
        """One more reader, who has had the event `last_id`. Refusal 503 when there are too many."""
        if self._stopping.is_set():
            raise Refusal(503, "The service is stopping; try again.", "stopping")
        if len(self._readers) >= self._most:
            raise Refusal(503, f"{self._most} clients follow the events already; try again later.", "busy")
        reader = Reader(wanted)
        with self._lock:
            if self._thread is None:
                self._epoch = ""
                loop = asyncio.get_running_loop()
                self._thread = threading.Thread(target=self._listen, args=(loop,), name="events", daemon=True)
                self._thread.start()
            self._readers.add(reader)
        if last_id is not None:
            self._catch_up(reader, last_id)
        reader.listening = self._epoch != ""
        return reader

    def leave(self, reader: Reader) -> None:
        """The reader's connection has ended."""
        self._readers.discard(reader)
        self._alone_since = time.monotonic()

    def _catch_up(self, reader: Reader, last_id: str) -> None:
        """What came since then, if all of it is still here; else a gap."""
        epoch, _, nth = last_id.rpartition("-")
        oldest = self._kept[0].nth if self._kept else self._nth + 1
        if (
            epoch
            and epoch == self._epoch
            and nth.isascii()
            and nth.isdigit()
            and oldest - 1 <= int(nth[:18]) <= self._nth
        ):
            for told in self._kept:
                if told.nth > int(nth):
                    reader.put(told)
        else:
            reader.put(NumberedEvent(self._nth, gap(), self._epoch or "0"))

    # -- in the loop, called by the thread ---------------------------------------------------------------

    def _began(self) -> None:
        self._epoch, self._nth = f"{time.time_ns():x}", 0
        self._kept.clear()
        for reader in self._readers:
            reader.listening = True
            reader.news.set()

    def _deliver(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.word == GAP:
                self._began()
            self._nth += 1
            told = NumberedEvent(self._nth, event, self._epoch)
            self._kept.append(told)
            for reader in self._readers:
                reader.put(told)

    def _ended(self, *, failed: bool) -> None:
        self._epoch = ""
        for reader in self._readers if failed else ():
            reader.over = True
            reader.news.set()

    # -- in the thread -----------------------------------------------------------------------------------

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        channel = Channel(self._conninfo, self._stopping)
        try:
            channel.hear(0.0)
            loop.call_soon_threadsafe(self._began)
            while not self._retired(loop):
                if events := channel.hear(HEARING_S):
                    loop.call_soon_threadsafe(self._deliver, events)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            # A lost connection is waited for inside; so this is the end of the service, or something to be mended.
            if not self._stopping.is_set():
                get_logger().error("events_ended", error=type(error).__name__)
            with self._lock:
                self._retire(loop, failed=True)
        except RuntimeError:  # the loop is closed, and the process is about to be
            pass
        finally:
            channel.close()

    def _retired(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether nobody has listened for a while; from then on the next reader starts another thread."""
        with self._lock:
            alone = not self._readers and time.monotonic() - self._alone_since > LINGER_S
            if alone or self._stopping.is_set():
                self._retire(loop, failed=False)
                return True
        return False

    def _retire(self, loop: asyncio.AbstractEventLoop, *, failed: bool) -> None:
        self._thread = None
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(partial(self._ended, failed=failed))  # before what the next thread calls
