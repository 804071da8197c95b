"""The viewers of answers that are being made: each answer's events are read once, for all who watch it.

A NOTIFY says that there is something to read; behind a pooler the tables are polled. Events are read with the rights of
one of the viewers, each of whom was allowed to see the answer when it began to watch.
"""

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from pgembedd.database.listener import Listener, within
from pgembedd.http.asking import Asker
from pgembedd.http.error_responses import Refusal, refusal_of
from pgembedd.http.tokens import Caller
from pgembedd.http.viewer_places import Place, ViewerPlaces
from pgembedd.log import get_logger
from pgembedd.search.questions import AnswerEvent

POLL_S = 0.25  # without LISTEN
MISSED_POLL_S = 2.0  # with it: a NOTIFY is a hint that may be lost with its connection
PAUSE_S = 0.02  # between two readings: events that come meanwhile are read together
READERS = 4  # at a time, as many as a role has connections
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
    """All viewers of a service. Everything is called in the event loop."""

    def __init__(self, asker: Asker, listener: Listener | None, stopping: threading.Event, *, max_viewers: int) -> None:
        """`listener` is None for a service without a database."""
        self._asker, self._listener, self._stopping = asker, listener, stopping
        self.places = ViewerPlaces(max_viewers)
        self._feeds: dict[UUID, Feed] = {}
        self._hinted: set[UUID] = set()
        self._news = asyncio.Event()
        self._relay: asyncio.Task[None] | None = None

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
        try:
            while self._feeds and not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), MISSED_POLL_S if hears else POLL_S)
                self._news.clear()
                wanted, self._hinted = self._hinted or set(self._feeds), set()
                await self._read([self._feeds[answer] for answer in wanted if answer in self._feeds])
                await asyncio.sleep(PAUSE_S)
        finally:
            if leave is not None:
                leave()

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


def _rights(caller: Caller) -> str:
    """Returns a text that identifies the rights of a caller in the database."""
    return f"{caller.search_url} {caller.claims}"
