"""The viewers of answers that are being made: each answer's events are read once, for all who watch it.

A NOTIFY says that there is something to read; behind a pooler the tables are polled. Events are read with the rights of
one of the viewers, each of whom was allowed to see the answer when it began to watch. A thread of its own reads: what
it is told of goes from the thread that listens straight to it, and from there to the event loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from pgembedd.answers.feed import Feed
from pgembedd.answers.questions import AnswerState, Questions
from pgembedd.database.answers import AnswerEvent
from pgembedd.database.listener import Heard, Listener, call_within
from pgembedd.log import get_logger

POLL_S = 0.25  # without LISTEN
MISSED_POLL_S = 2.0  # with it: a NOTIFY is a hint that may be lost with its connection
PAUSE_S = 0.02  # between two readings: events that come meanwhile are read together
READERS = 4  # at a time, as many as a role has connections
LOOKERS = 3  # at a time: the last connection is left to the role's searches
STOP_CHECK_S = 0.25


class AnswerHub:
    """All viewers of a service. What viewers call is called in the event loop."""

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
        self._listener, self.stopping, self.sentence_of, self.passes = listener, stopping, sentence_of, passes
        self._hears = listener is not None and listener.hears
        self._feeds: dict[str, Feed] = {}  # by the answer's id, as a NOTIFY has it
        self._lock = threading.Lock()  # of these, and of the viewers of each
        self._heard = Heard()
        """What may have something new; None for all. Any role may send a NOTIFY, so it is no more than a hint."""
        self._thread: threading.Thread | None = None
        self._readers, self._lookers = ThreadPoolExecutor(READERS, "answer reader"), CapacityLimiter(LOOKERS)

    async def state(self, answer: UUID, viewer: Questions, within_s: float) -> AnswerState | None:
        """Returns the answer as it was within so many seconds; None for one that the viewer may not see."""
        if (feed := self._feeds.get(str(answer))) is None:
            return await run_sync(viewer.state, answer)
        return await feed.once(viewer, Questions.state, within_s)

    def join(self, answer: UUID, viewer: Questions) -> Feed:
        """Adds a viewer of an answer that it may see."""
        with self._lock:
            if self._thread is None:
                loop = asyncio.get_running_loop()
                thread = threading.Thread(target=self._run, args=(loop,), name="answer events", daemon=True)
                thread.start()  # where that fails, there is no viewer, and the next one tries again
                self._thread = thread
            feed = self._feeds.setdefault(str(answer), Feed(answer, self._lookers))
            feed.viewers.append(viewer)
        self._heard.put(feed.key)
        return feed

    def leave(self, feed: Feed, viewer: Questions) -> None:
        """Removes a viewer; the feed of the last one is forgotten."""
        with self._lock:
            feed.viewers.remove(viewer)
            if not feed.viewers:
                self._feeds.pop(feed.key, None)
        feed.forget(viewer)

    def close(self) -> None:
        """Ends the threads that read, once what they read is there."""
        self._readers.shutdown()

    # -- in the thread -----------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reads and hands on until there is no viewer."""
        leave = None if self._listener is None else self._listener.subscribe("pgembedd_answers", self._heard.put)
        poll_s, read_at = MISSED_POLL_S if self._hears else POLL_S, time.monotonic()
        try:
            while self._is_needed():
                heard = set(self._heard.drain(STOP_CHECK_S, read_at + PAUSE_S))
                if not heard and time.monotonic() >= read_at + poll_s:
                    heard.add(None)
                if groups := self._groups(heard):
                    self._read(loop, groups)
                    read_at = time.monotonic()
        finally:
            if leave is not None:
                leave()
            for feed in list(self._feeds.values()):
                call_within(loop, feed.wake)

    def _is_needed(self) -> bool:
        """Returns False at the end of the thread; the next viewer then starts another one."""
        with self._lock:
            if self._feeds and not self.stopping.is_set():
                return True
            self._thread = None
            return False

    def _groups(self, heard: set[str | None]) -> list[tuple[Questions, list[Feed]]]:
        """Returns the answers to read, those of one role and user together."""
        groups: dict[str, tuple[Questions, list[Feed]]] = {}
        with self._lock:
            for answer in list(self._feeds) if None in heard else heard:
                if (feed := self._feeds.get(answer or "")) is not None and not feed.over:
                    feed.viewers.append(feed.viewers.pop(0))  # one who may not see it any more keeps it from no other
                    viewer = next((one for one in feed.viewers if one.rights not in feed.unreadable), feed.viewers[0])
                    groups.setdefault(viewer.rights, (viewer, []))[1].append(feed)
        return list(groups.values())

    def _read(self, loop: asyncio.AbstractEventLoop, groups: list[tuple[Questions, list[Feed]]]) -> None:
        """Reads each group in one statement."""
        if len(groups) == 1:  # as nearly always
            self._read_group(loop, *groups[0])
        else:
            try:
                list(self._readers.map(lambda group: self._read_group(loop, *group), groups))
            except RuntimeError as error:  # no thread can be started now: the next poll reads
                get_logger().error("answers_not_read", error=type(error).__name__)

    def _read_group(self, loop: asyncio.AbstractEventLoop, viewer: Questions, feeds: list[Feed]) -> None:
        try:
            found = viewer.events({feed.key: feed.read for feed in feeds})
        except Exception as error:
            if not self.passes(error):
                get_logger().error("answers_not_read", error=type(error).__name__)
                for feed in feeds:
                    self._fail(loop, feed, viewer, self.sentence_of(error) or "The answer cannot be read any more.")
            return
        new: dict[str, list[AnswerEvent]] = {}
        for answer, event in found:
            new.setdefault(answer, []).append(event)
        for feed in feeds:
            if events := new.get(feed.key):
                feed.read = events[-1].seq
                call_within(loop, partial(feed.add, events))

    def _fail(self, loop: asyncio.AbstractEventLoop, feed: Feed, viewer: Questions, sentence: str) -> None:
        """Has the answer read as another of its viewers, and ends it where there is none whose rights suffice."""
        with self._lock:
            feed.unreadable.add(viewer.rights)
            if all(one.rights in feed.unreadable for one in feed.viewers):
                call_within(loop, partial(feed.fail, sentence))
            else:
                self._heard.put(feed.key)
