"""The viewers of answers that are being made: each answer's events are read once, for all who watch it.

One connection listens for the whole service, while there is a viewer; behind a pooler the tables are polled. Events are
read with the rights of one of the viewers, each of whom was allowed to see the answer when it began to watch.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

import psycopg
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from pgembedd.answers.progress import Progress
from pgembedd.answers.questions import Questions
from pgembedd.database.answers import AnswerEvent
from pgembedd.database.connection import Connection
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError, PgembeddError
from pgembedd.log import get_logger

HEAR_S = 0.5  # how long the thread waits for a NOTIFY before it looks whether it is needed
POLL_S = 0.25  # without LISTEN
MISSED_POLL_S = 2.0  # with it: a NOTIFY is a hint that may be lost with its connection
PAUSE_S = 0.02  # between two readings: events that come meanwhile are read together
READERS = 4  # at a time, as many as a role has connections
LINGER_S = 30.0


class Feed(Progress):
    """The events of one answer so far, for its viewers, who each go through `events` at their own pace."""

    def __init__(self, answer: UUID) -> None:
        super().__init__()
        self.answer = answer
        self.viewers: list[Questions] = []
        self.unreadable: set[str] = set()  # the rights with which it could not be read
        self.changed = asyncio.Event()  # replaced each time that it is set

    def add(self, events: Iterable[AnswerEvent]) -> list[AnswerEvent]:
        """Appends those that are new and wakes the viewers."""
        new = super().add(events)
        self._wake()
        return new

    def fail(self, sentence: str) -> None:
        """Ends with an error that the database does not have: without a number, which another event will have."""
        self.events.append(AnswerEvent("error", {"message": sentence}))
        self.over = True
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class AnswerHub:
    """All viewers of a service. Everything but `_listen` is called in the event loop."""

    def __init__(
        self,
        conninfo: str | None,
        stopping: threading.Event,
        sentence_of: Callable[[Exception], str | None],
        passes: Callable[[Exception], bool],
    ) -> None:
        """`conninfo` is None where LISTEN is not possible.

        `sentence_of` returns what viewers are told of an error, None for a defect; one that `passes` is not told.
        """
        self._conninfo, self.stopping, self.sentence_of, self._passes = conninfo, stopping, sentence_of, passes
        self._feeds: dict[UUID, Feed] = {}
        self._hinted: set[UUID] = set()
        self._news = asyncio.Event()
        self._readers = CapacityLimiter(READERS)
        self._relay: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unused_since = time.monotonic()

    def join(self, answer: UUID, viewer: Questions) -> Feed:
        """Adds a viewer of an answer that it may see."""
        feed = self._feeds.setdefault(answer, Feed(answer))
        feed.viewers.append(viewer)
        self._hint([answer])
        self._start()
        return feed

    def leave(self, feed: Feed, viewer: Questions) -> None:
        """Removes a viewer; the feed of the last one is forgotten."""
        feed.viewers.remove(viewer)
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
        while self._feeds and not self.stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), poll_s)
            self._news.clear()
            wanted, self._hinted = self._hinted or set(self._feeds), set()
            await self._read([self._feeds[answer] for answer in wanted if answer in self._feeds])
            await asyncio.sleep(PAUSE_S)

    async def _read(self, feeds: list[Feed]) -> None:
        """Reads the answers of one role and user in one statement."""
        groups: dict[str, tuple[Questions, list[Feed]]] = {}
        for feed in feeds:
            if feed.viewers and not feed.over:
                feed.viewers.append(feed.viewers.pop(0))  # one who may not see it any more keeps it from no other
                viewer = next((one for one in feed.viewers if one.rights not in feed.unreadable), feed.viewers[0])
                groups.setdefault(viewer.rights, (viewer, []))[1].append(feed)
        await asyncio.gather(*(self._read_group(*group) for group in groups.values()))

    async def _read_group(self, viewer: Questions, feeds: list[Feed]) -> None:
        try:
            after = {feed.answer: feed.seq for feed in feeds}
            found = await run_sync(viewer.events, after, limiter=self._readers)
        except Exception as error:
            if not self._passes(error):
                get_logger().error("answers_not_read", error=type(error).__name__)
                for feed in feeds:
                    self._fail(feed, viewer, self.sentence_of(error) or "The answer cannot be read any more.")
            return
        for feed in feeds:
            if events := [event for answer, event in found if answer == feed.answer]:
                feed.add(events)

    def _fail(self, feed: Feed, viewer: Questions, sentence: str) -> None:
        """Has the answer read as another of its viewers, and ends it where there is none whose rights suffice."""
        feed.unreadable.add(viewer.rights)
        if all(one.rights in feed.unreadable for one in feed.viewers):
            feed.fail(sentence)
        else:
            self._hint([feed.answer])

    # -- in the thread -----------------------------------------------------------------------------------

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._conninfo is not None
        connection = Connection(Sessions(self._conninfo, "answer viewers"), self.stopping)
        try:
            connection.sessions.on_open(_listen)
            while self._is_needed():
                if hints := connection.call(_hints):
                    loop.call_soon_threadsafe(self._hint, hints)
        except (psycopg.Error, PgembeddError) as error:
            if not self.stopping.is_set():
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
            if unused or self.stopping.is_set():
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
