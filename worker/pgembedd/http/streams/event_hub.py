"""The readers of `/events`: one database connection listens for all of them, and only while there is one.

The readers belong to the event loop; one thread listens and hands the events over. It never waits for a reader: one
whose queue is full is dropped.
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
from sse_starlette import ServerSentEvent

from pgembedd.database.event_channel import GAP, Channel, Event, EventFilter, gap
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.http.errors.refusals import Refusal
from pgembedd.log import get_logger

HISTORY = 500  # newest events, for a reader that comes back; as many may wait for a reader
POLL_S = 0.5
LINGER_S = 30.0  # after the last reader has left: one that lost its connection comes back in a few seconds


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its number among those that this service received."""

    nth: int
    event: Event
    epoch: str

    @property
    def message(self) -> ServerSentEvent:
        """The event as it is sent."""
        return ServerSentEvent(self.event.json, event=self.event.word, id=f"{self.epoch}-{self.nth}", sep="\n")


class EventReader:
    """One client: the events that wait for it, and whether it was too slow."""

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self.waiting: deque[ServerSentEvent] = deque()
        self.listening = False  # from here on nothing is missed
        self.dropped = False
        self.over = False
        self.news = asyncio.Event()

    def put(self, numbered: NumberedEvent) -> None:
        """Adds an event, or drops the reader when too many wait."""
        if self.dropped or not self.wanted.takes(numbered.event):
            return
        if len(self.waiting) >= HISTORY:
            self.dropped = True
            get_logger().warning("events_reader_dropped", waiting=len(self.waiting))
        else:
            self.waiting.append(numbered.message)
        self.news.set()


class EventHub:
    """All readers of a service."""

    def __init__(self, conninfo: str, stopping: threading.Event, *, max_readers: int) -> None:
        """At most `max_readers` at a time."""
        self._conninfo, self._stopping, self._max_readers = conninfo, stopping, max_readers
        self._readers: set[EventReader] = set()
        self._history: deque[NumberedEvent] = deque(maxlen=HISTORY)
        self._epoch = ""  # identifies an unbroken time of listening; "" without one
        self._nth = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unused_since = 0.0

    def join(self, wanted: EventFilter, last_id: str | None = None) -> EventReader:
        """Adds a reader whose last event was `last_id`. Refusal 503 when there are too many."""
        if self._stopping.is_set():
            raise Refusal(503, "The service is stopping; try again.", "stopping")
        if len(self._readers) >= self._max_readers:
            raise Refusal(503, f"{self._max_readers} clients follow the events already; try again later.", "busy")
        reader = EventReader(wanted)
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

    def leave(self, reader: EventReader) -> None:
        """Removes a reader whose connection has ended."""
        self._readers.discard(reader)
        self._unused_since = time.monotonic()

    def _catch_up(self, reader: EventReader, last_id: str) -> None:
        """Gives the reader the events since then if all of them are in the history, else a gap."""
        epoch, _, nth = last_id.rpartition("-")
        oldest = self._history[0].nth if self._history else self._nth + 1
        if (
            epoch
            and epoch == self._epoch
            and nth.isascii()
            and nth.isdigit()
            and oldest - 1 <= int(nth[:18]) <= self._nth
        ):
            for numbered in self._history:
                if numbered.nth > int(nth):
                    reader.put(numbered)
        else:
            reader.put(NumberedEvent(self._nth, gap(), self._epoch or "0"))

    # -- in the loop, called by the thread ---------------------------------------------------------------

    def _began(self) -> None:
        self._epoch, self._nth = f"{time.time_ns():x}", 0
        self._history.clear()
        for reader in self._readers:
            reader.listening = True
            reader.news.set()

    def _deliver(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.word == GAP:
                self._began()
            self._nth += 1
            numbered = NumberedEvent(self._nth, event, self._epoch)
            self._history.append(numbered)
            for reader in self._readers:
                reader.put(numbered)

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
                if events := channel.hear(POLL_S):
                    loop.call_soon_threadsafe(self._deliver, events)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            # The channel reconnects by itself, so this is the end of the service, or a defect.
            if not self._stopping.is_set():
                get_logger().error("events_ended", error=type(error).__name__)
            with self._lock:
                self._retire(loop, failed=True)
        except RuntimeError:  # the loop is closed, and the process is about to be
            pass
        finally:
            channel.close()

    def _retired(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Returns true when there was no reader for a while; the next reader then starts another thread."""
        with self._lock:
            unused = not self._readers and time.monotonic() - self._unused_since > LINGER_S
            if unused or self._stopping.is_set():
                self._retire(loop, failed=False)
                return True
        return False

    def _retire(self, loop: asyncio.AbstractEventLoop, *, failed: bool) -> None:
        self._thread = None
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(partial(self._ended, failed=failed))  # before what the next thread calls
