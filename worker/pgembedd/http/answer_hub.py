"""The viewers of answers that are being made: each answer's events are read once, for all who watch it.

One connection listens for the whole service, while there is a viewer; behind a pooler the tables are polled. Events are
read with the rights of one of the viewers, each of whom was allowed to see the answer when it began to watch.
"""

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import psycopg
from fastapi.concurrency import run_in_threadpool

from pgembedd.answers.questions import AnswerEvent
from pgembedd.database.connection import Connection
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError, PgembeddError
from pgembedd.http.asking import Asker
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal, refusal_of
from pgembedd.http.viewer_places import Place, ViewerPlaces
from pgembedd.log import get_logger

HEAR_S = 0.5  # how long the thread waits for a NOTIFY before it looks whether it is needed
POLL_S = 0.25  # without LISTEN
MISSED_POLL_S = 2.0  # with it: a NOTIFY is a hint that may be lost with its connection
PAUSE_S = 0.02  # between two readings: events that come meanwhile are read together
READERS = 4  # at a time, as many as a role has connections
LINGER_S = 30.0
READ_AGAIN = ("database_unavailable", "busy")


class Feed:
    """The events of one answer so far, for its viewers, who each go through `events` at their own pace."""

    def __init__(self, answer: UUID) -> None:
        self.answer = answer
        self.events: list[AnswerEvent] = []
        self.over = False  # nothing comes any more
        self.viewers: list[Caller] = []
        self.unreadable: set[str] = set()  # with whose rights it could not be read
        self.changed = asyncio.Event()  # replaced each time that it is set

    @property
    def seq(self) -> int:
        """The last event's number; 0 before the first."""
        return self.events[-1].seq if self.events else 0

    @property
    def is_taken(self) -> bool:
        """True once a worker has it; False again where an attempt failed and another one is to follow."""
        states = (event.data.get("status") for event in reversed(self.events) if event.event == "status")
        return next(states, None) == "generating"

    def add(self, events: Iterable[AnswerEvent]) -> None:
        """Appends new events and wakes the viewers."""
        for event in events:
            if event.seq > self.seq and not self.over:
                self.events.append(event)
                self.over = event.ends
        self._wake()

    def fail(self, sentence: str) -> None:
        """Ends with an error that the database does not have: without a number, which another event will have."""
        self.events.append(AnswerEvent(0, "error", {"message": sentence}))
        self.over = True
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class AnswerHub:
    """All viewers of a service. Everything but `_listen` is called in the event loop."""

    def __init__(self, asker: Asker, conninfo: str | None, stopping: threading.Event, *, max_viewers: int) -> None:
        """`conninfo` is None where LISTEN is not possible."""
        self._asker, self._conninfo, self._stopping = asker, conninfo, stopping
        self.places = ViewerPlaces(max_viewers)
        self._feeds: dict[UUID, Feed] = {}
        self._hinted: set[UUID] = set()
        self._news = asyncio.Event()
        self._relay: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unused_since = time.monotonic()

    def reserve(self, caller: Caller) -> Place:
        """Takes a viewer's place, before anything is done for it. Refusal 429, 503 when there are too many."""
        if self._stopping.is_set():
            raise Refusal(503, "The service is stopping; try again.", "stopping")
        return self.places.take(caller)

    def join(self, answer: UUID, caller: Caller) -> Feed:
        """Adds a viewer, who has a place, of an answer that the caller may see."""
        feed = self._feeds.setdefault(answer, Feed(answer))
        feed.viewers.append(caller)
        self._hint([answer])
        self._start()
        return feed

    def leave(self, feed: Feed, caller: Caller) -> None:
        """Removes a viewer; the feed of the last one is forgotten."""
        feed.viewers.remove(caller)
        if not feed.viewers:
            self._feeds.pop(feed.answer, None)
        self._unused_since = time.monotonic()

    def _start(self) -> None:
        if self._relay is None or self._relay.done():
            self._relay = asyncio.create_task(self._run())
        if self._conninfo is not None:
            with self._lock:
                if self._thread is None:
                    loop = asyncio.get_running_loop()
                    self._thread = threading.Thread(target=self._listen, args=(loop,), name="answers", daemon=True)
                    self._thread.start()

    def _hint(self, answers: Iterable[UUID]) -> None:
        self._hinted |= self._feeds.keys() & set(answers)
        if self._hinted:
            self._news.set()

    async def _run(self) -> None:
        """Reads and hands on until there is no viewer."""
        poll_s = POLL_S if self._conninfo is None else MISSED_POLL_S
        while self._feeds and not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), poll_s)
            self._news.clear()
            wanted, self._hinted = self._hinted or set(self._feeds), set()
            await self._read([self._feeds[answer] for answer in wanted if answer in self._feeds])
            await asyncio.sleep(PAUSE_S)

    async def _read(self, feeds: list[Feed]) -> None:
        """Reads the answers of one role and user in one statement."""
        groups: dict[str, tuple[Caller, list[Feed]]] = {}
        for feed in feeds:
            if feed.viewers and not feed.over:
                feed.viewers.append(feed.viewers.pop(0))  # one who may not see it any more keeps it from no other
                caller = next((one for one in feed.viewers if _rights(one) not in feed.unreadable), feed.viewers[0])
                groups.setdefault(_rights(caller), (caller, []))[1].append(feed)
        turns = asyncio.Semaphore(READERS)

        async def read_group(caller: Caller, group: list[Feed]) -> None:
            async with turns:
                await self._read_group(caller, group)

        await asyncio.gather(*(read_group(*group) for group in groups.values()))

    async def _read_group(self, caller: Caller, feeds: list[Feed]) -> None:
        after = {feed.answer: feed.seq for feed in feeds}
        try:
            found = await run_in_threadpool(self._asker.events, caller, after)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None or refusal.code not in READ_AGAIN:
                get_logger().error("answers_not_read", error=type(error).__name__)
                for feed in feeds:
                    feed.unreadable.add(_rights(caller))
                    if all(_rights(one) in feed.unreadable for one in feed.viewers):
                        feed.fail("The answer cannot be read any more." if refusal is None else refusal.sentence)
                    else:
                        self._hint([feed.answer])  # as another of its viewers
            return
        for feed in feeds:
            if events := [event for answer, event in found if answer == feed.answer]:
                feed.add(events)

    # -- in the thread -----------------------------------------------------------------------------------

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._conninfo is not None
        connection = Connection(Sessions(self._conninfo, "answer viewers"), self._stopping)
        try:
            connection.sessions.on_open(_listen)
            while self._is_needed():
                if hints := connection.call(_hints):
                    loop.call_soon_threadsafe(self._hint, hints)
        except (psycopg.Error, PgembeddError) as error:
            if not self._stopping.is_set():
                get_logger().error("answers_not_heard", error=type(error).__name__)
            with self._lock:
                self._thread = None
        except RuntimeError:  # the loop is closed, and the process is about to be
            pass
        finally:
            with suppress(DatabaseUnavailableError):
                connection.close()

    def _is_needed(self) -> bool:
        """Returns false when there was no viewer for a while; the next one then starts another thread."""
        with self._lock:
            unused = not self._feeds and time.monotonic() - self._unused_since > LINGER_S
            if unused or self._stopping.is_set():
                self._thread = None
                return False
        return True


def _listen(connection: psycopg.Connection) -> None:
    connection.execute("listen pgembedd_answers")


def _hints(connection: psycopg.Connection) -> list[UUID]:
    """Returns the answers that are named in NOTIFYs; any role may send one, so it is no more than a hint."""
    found = []
    for notice in connection.notifies(timeout=HEAR_S, stop_after=1):
        with suppress(ValueError):
            found.append(UUID(notice.payload))
    return found


def _rights(caller: Caller) -> str:
    """Returns a text that identifies the rights of a caller in the database."""
    return f"{caller.search_url} {caller.claims}"
