"""The readers of `/api/v1/events`: each event is read once for all of them, and only while there is one.

A thread reads; all else happens in the event loop. No reader is waited for: one whose queue is full is dropped.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.event_channel import CHANNEL, GAP, Event, EventFilter, EventLog, gap
from pgembedd.database.listener import Heard, Listener, call_within
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.streams.sse import framed
from pgembedd.log import get_logger

HISTORY = 500  # newest events, for a reader that comes back; as many may wait for a reader
POLL_S = 0.5  # between two looks at whether the service stops
LINGER_S = 30.0  # after the last reader has left: one that lost its connection comes back in a few seconds
LISTENING = b": listening\n\n"
TOO_SLOW = framed('{"event": "too_slow", "pipeline": null, "pipeline_id": null}', "too_slow")


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its number among those that this service received."""

    nth: int
    event: Event
    frame: bytes
    """The event as it is sent."""

    @classmethod
    def of(cls, nth: int, event: Event, epoch: str) -> "NumberedEvent":
        """Numbers an event of that time of listening."""
        return cls(nth, event, framed(event.json, event.word, f"{epoch}-{nth}"))


class EventReader:
    """One client: the events that wait for it, and whether it was too slow."""

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self.waiting: deque[bytes] = deque()
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
            self.waiting.append(numbered.frame)
        self.news.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Yields what is sent, until the reader is over."""
        announced = False
        while True:
            over = self.dropped or self.over
            self.news.clear()
            if self.listening and not announced:
                announced = True
                yield LISTENING
            while self.waiting:
                yield self.waiting.popleft()
            if over:
                break
            await self.news.wait()
        if self.dropped:
            yield TOO_SLOW


class EventHub:
    """All readers of a service."""

    def __init__(self, listener: Listener, conninfo: str, stopping: threading.Event, max_readers: int) -> None:
        """At most `max_readers` at a time."""
        self._listener, self._conninfo, self._stopping = listener, conninfo, stopping
        self._max_readers = max_readers
        self._readers: set[EventReader] = set()
        self._history: deque[NumberedEvent] = deque(maxlen=HISTORY)
        self._epoch = ""  # identifies an unbroken time of listening; "" without one
        self._nth = 0
        self._heard: Heard | None = None  # of the thread that reads, where there is one
        self._joined = 0

    def join(self, wanted: EventFilter, last_id: str | None = None) -> EventReader:
        """Adds a reader whose last event was `last_id`. Refusal 503 when there are too many."""
        if self._stopping.is_set():
            raise Refusal(503, "The service is stopping; try again.", "stopping")
        if len(self._readers) >= self._max_readers:
            raise Refusal(503, f"{self._max_readers} clients follow the events already; try again later.", "busy")
        reader = EventReader(wanted)
        self._readers.add(reader)
        self._joined += 1
        if self._heard is None:
            self._heard = Heard()
            values = (self._heard, asyncio.get_running_loop())
            threading.Thread(target=self._run, args=values, name="events", daemon=True).start()
        if last_id is not None:
            self._catch_up(reader, last_id)
        reader.listening = self._epoch != ""
        return reader

    def leave(self, reader: EventReader) -> None:
        """Removes a reader whose connection has ended."""
        self._readers.discard(reader)
        if not self._readers:
            asyncio.get_running_loop().call_later(LINGER_S, self._end_unless_used, self._joined)

    def _end_unless_used(self, joined: int) -> None:
        if self._heard is not None and not self._readers and joined == self._joined:
            self._heard.end()
            self._end(self._heard)

    def _end(self, heard: Heard) -> None:
        """Has what this thread read come to its end."""
        if heard is self._heard:
            for reader in self._readers:
                reader.over = True
                reader.news.set()
            self._epoch, self._heard = "", None

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
            reader.put(NumberedEvent.of(self._nth, gap(), self._epoch or "0"))

    def _begin(self) -> None:
        self._epoch, self._nth = f"{time.time_ns():x}", 0
        self._history.clear()
        for reader in self._readers:
            reader.listening = True
            reader.news.set()

    def _deliver(self, heard: Heard, events: Iterable[Event]) -> None:
        if heard is not self._heard:
            return
        if not self._epoch:
            self._begin()
        for event in events:
            if event.word == GAP:
                self._begin()
            self._nth += 1
            numbered = NumberedEvent.of(self._nth, event, self._epoch)
            self._history.append(numbered)
            for reader in self._readers:
                reader.put(numbered)

    def _run(self, heard: Heard, loop: asyncio.AbstractEventLoop) -> None:
        """Listens and hands on, in a thread, until there is no reader, or the service stops."""
        log = EventLog(Connection(Sessions(self._conninfo, "events"), self._stopping))
        try:
            log.begin()
            leave = self._listener.subscribe(CHANNEL, heard.put)
            try:
                while not self._stopping.is_set() and not heard.over:
                    if (told := heard.drain(POLL_S)) and not heard.over:
                        call_within(loop, partial(self._deliver, heard, log.read(told)))
            finally:
                leave()
        except (psycopg.Error, DatabaseUnavailableError) as error:
            # The connection is opened again by itself, so this is the end of the service, or a defect.
            if not self._stopping.is_set():
                get_logger().error("events_ended", error=type(error).__name__)
        finally:
            log.close()
            call_within(loop, partial(self._end, heard))
