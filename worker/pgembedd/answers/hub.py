"""The viewers of answers that are being made: each answer's events are read once, for all who watch it.

A NOTIFY says that there is something to read; behind a pooler the tables are polled. Events are read with the rights of
one of the viewers, each of whom was allowed to see the answer when it began to watch.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from pgembedd.answers.progress import Progress
from pgembedd.answers.questions import AnswerState, Questions
from pgembedd.database.answers import AnswerEvent
from pgembedd.database.listener import Listener, within
from pgembedd.log import get_logger

POLL_S = 0.25  # without LISTEN
MISSED_POLL_S = 2.0  # with it: a NOTIFY is a hint that may be lost with its connection
PAUSE_S = 0.02  # between two readings: events that come meanwhile are read together
READERS = 4  # at a time, as many as a role has connections
LOOKERS = 3  # at a time: the last connection is left to the role's searches
STOP_CHECK_S = 0.25

Result = TypeVar("Result")


async def is_set(changed: asyncio.Event, timeout_s: float | None) -> bool:
    """Waits for something new; returns False where nothing came for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            return await changed.wait()
    return False


class Feed(Progress):
    """The events of one answer so far, for its viewers, who each go through `events` at their own pace."""

    def __init__(self, answer: UUID, lookers: CapacityLimiter) -> None:
        """`lookers` bounds the threads that ask for single viewers."""
        super().__init__()
        self.answer, self._lookers = answer, lookers
        self.viewers: list[Questions] = []
        self.unreadable: set[str] = set()  # the rights with which it could not be read
        self.changed = asyncio.Event()  # replaced each time that it is set
        self._asked: dict[str, dict[Any, tuple[float, asyncio.Future[Any]]]] = {}  # by rights and method

    async def once(
        self, viewer: Questions, method: Callable[[Questions, UUID], Result | None], within_s: float
    ) -> Result | None:
        """Calls the method for this answer, in a thread; once in so many seconds for all viewers of the same rights."""
        asked = self._asked.setdefault(viewer.rights, {})
        at, result = asked.get(method, (-math.inf, None))
        if result is None or time.monotonic() >= at + within_s:
            result = asyncio.ensure_future(run_sync(method, viewer, self.answer, limiter=self._lookers))
            result.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            asked[method] = time.monotonic(), result
        found: Result | None = None
        try:
            found = await asyncio.shield(result)
        finally:
            if found is None:  # an error, or nothing that they may see: the next one asks again
                self.forget(viewer)
        return found

    def forget(self, viewer: Questions) -> None:
        """Forgets what viewers of these rights were told."""
        self._asked.pop(viewer.rights, None)

    def add(self, events: Iterable[AnswerEvent]) -> list[AnswerEvent]:
        """Appends those that are new and wakes the viewers."""
        new = super().add(events)
        self.wake()
        return new

    def fail(self, sentence: str) -> None:
        """Ends with an error that the database does not have: without a number, which another event will have."""
        self.events.append(AnswerEvent("error", {"message": sentence}))
        self.over = True
        self.wake()

    def wake(self) -> None:
        """Has the viewers look for news."""
        self.changed.set()
        self.changed = asyncio.Event()


class AnswerHub:
    """All viewers of a service. Everything is called in the event loop."""

    def __init__(
        self,
        listener: Listener | None,
        stopping: threading.Event,
        sentence_of: Callable[[Exception], str | None],
        passes: Callable[[Exception], bool],
    ) -> None:
        """`listener` is None for a service without a database.

        `sentence_of` returns what viewers are told of an error, None for a defect; one that `passes` is not told.
        """
        self._listener, self.stopping, self.sentence_of, self._passes = listener, stopping, sentence_of, passes
        self._feeds: dict[UUID, Feed] = {}
        self._hinted: set[UUID] = set()
        self._news = asyncio.Event()
        self._readers, self._lookers = CapacityLimiter(READERS), CapacityLimiter(LOOKERS)
        self._relay: asyncio.Task[None] | None = None

    async def state(self, answer: UUID, viewer: Questions, within_s: float) -> AnswerState | None:
        """Returns the answer as it was within so many seconds; None for one that the viewer may not see."""
        if (feed := self._feeds.get(answer)) is None:
            return await run_sync(viewer.state, answer)
        return await feed.once(viewer, Questions.state, within_s)

    def join(self, answer: UUID, viewer: Questions) -> Feed:
        """Adds a viewer of an answer that it may see."""
        feed = self._feeds.setdefault(answer, Feed(answer, self._lookers))
        feed.viewers.append(viewer)
        self._hint([answer])
        self._start()
        return feed

    def leave(self, feed: Feed, viewer: Questions) -> None:
        """Removes a viewer; the feed of the last one is forgotten."""
        feed.viewers.remove(viewer)
        feed.forget(viewer)
        if not feed.viewers:
            self._feeds.pop(feed.answer, None)

    def _start(self) -> None:
        if self._relay is None or self._relay.done():
            self._relay = asyncio.create_task(self._run())

    def _hear(self, payload: str | None) -> None:
        """Takes the id of an answer from a NOTIFY; any role may send one, so it is no more than a hint."""
        with suppress(ValueError):
            self._hint(self._feeds if payload is None else [UUID(payload)])

    def _hint(self, answers: Iterable[UUID]) -> None:
        self._hinted |= self._feeds.keys() & set(answers)
        if self._hinted:
            self._news.set()

    async def _run(self) -> None:
        """Reads and hands on until there is no viewer."""
        hears = self._listener is not None and self._listener.hears
        leave = None
        if self._listener is not None:
            leave = self._listener.subscribe("pgembedd_answers", within(asyncio.get_running_loop(), self._hear))
        read_at = time.monotonic()
        try:
            while self._feeds and not self.stopping.is_set():
                await is_set(self._news, STOP_CHECK_S)
                await asyncio.sleep(max(0.0, read_at + PAUSE_S - time.monotonic()))
                self._news.clear()
                wanted, self._hinted = self._hinted, set()
                if not wanted and time.monotonic() < read_at + (MISSED_POLL_S if hears else POLL_S):
                    continue
                await self._read([self._feeds[one] for one in wanted or set(self._feeds) if one in self._feeds])
                read_at = time.monotonic()
        finally:
            for feed in self._feeds.values():
                feed.wake()
            if leave is not None:
                leave()

    async def _read(self, feeds: list[Feed]) -> None:
        """Reads the answers of one role and user in one statement."""
        groups: dict[str, tuple[Questions, list[Feed]]] = {}
        for feed in feeds:
            if feed.viewers and not feed.over:
                feed.viewers.append(feed.viewers.pop(0))  # one who may not see it any more keeps it from no other
                viewer = next((one for one in feed.viewers if one.rights not in feed.unreadable), feed.viewers[0])
                groups.setdefault(viewer.rights, (viewer, []))[1].append(feed)
        readings = [self._read_group(*group) for group in groups.values()]
        if len(readings) == 1:  # as nearly always: to gather takes a task
            await readings[0]
        else:
            await asyncio.gather(*readings)

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
