"""One viewer of an answer: its events from a number on, until the last one."""

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi.concurrency import run_in_threadpool

from pgembedd.answers.questions import REMEDY, UNTAKEN, AnswerEvent, AnswerState, Question
from pgembedd.errors import GenerationUnavailableError
from pgembedd.http.answer_hub import AnswerHub, Feed
from pgembedd.http.asking import NOT_FOUND, Asker
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import refusal_of
from pgembedd.http.viewer_places import Place
from pgembedd.log import get_logger

POLL_S = 0.25  # of `stopping`
UNTAKEN_S = 3.2  # a bit more than the three seconds of _is_untaken() in SQL
UNTAKEN_AGAIN_S = 10.0
TAKEN_S = 5.0  # so long a chat has no status: a busy worker may take much longer
LOOK_S = 5.0  # between two looks at whether a viewer may see the answer still
RETRY = b"retry: 3000\n\n"


class Viewer:
    """A client that may see an answer. `close` has to be called at the end."""

    def __init__(
        self,
        asker: Asker,
        hub: AnswerHub,
        caller: Caller,
        state: AnswerState,
        after: int = 0,
        place: Place | None = None,
    ) -> None:
        """Watches from the event after `after`, in a place that was taken or is taken now: Refusal 429, 503."""
        self._asker, self._hub, self._caller, self._after = asker, hub, caller, after
        self.state = state
        self._place = place
        if not state.is_finished:
            self._place = place or hub.reserve(caller)
        elif place is not None:
            place.release()
        self._feed = None if state.is_finished else hub.join(state.id, caller)
        self._look_at = time.monotonic() + LOOK_S
        self._look_taken_at = time.monotonic() + UNTAKEN_S
        self._told: list[AnswerEvent] | None = None  # of a finished answer
        self.ended = False  # its last event was shown

    def close(self) -> None:
        """Leaves; it may be called twice."""
        if self._feed is not None:
            self._hub.leave(self._feed, self._caller)
            self._feed = None
        if self._place is not None:
            self._place.release()

    def abandon(self) -> None:
        """Has an answer that is still being made stopped, by a thread: its only reader has left."""
        if not self.ended:
            asyncio.get_running_loop().run_in_executor(None, self._stop)

    def _stop(self) -> None:
        try:
            self._asker.stop(self._caller, self.state.id)
        except Exception as error:  # it goes on, and costs what an answer costs
            get_logger().warning("answer_not_stopped", answer=str(self.state.id), error=type(error).__name__)

    async def events(self, stopping: threading.Event) -> AsyncIterator[AnswerEvent]:
        """Yields what happened and what happens, sources as the caller may read them. SearchError, Refusal."""
        async for event in _each(await self._past()) if self._feed is None else _present(self._feed, stopping):
            if event is None:  # nothing has come for a moment
                if self._feed is not None and await self._is_untaken(self._feed):
                    reason = f"{UNTAKEN}. It stays queued; {REMEDY}."
                    yield AnswerEvent(0, "status", {"status": "queued", "attempt": 0, "reason": reason})
                continue
            if not await self._may_see():
                yield AnswerEvent(0, "error", {"message": "The answer is not shared with you any more."})
                return
            self.ended = event.ends
            if event.seq > self._after or event.ends:
                yield await self._with_sources(event) if event.event == "sources" else event

    async def _may_see(self) -> bool:
        """Returns False for one with whom the thread is not shared any more; what is shown live is read for all."""
        if self._feed is None or time.monotonic() < self._look_at:
            return True
        self._look_at = time.monotonic() + LOOK_S
        try:
            await run_in_threadpool(self._asker.state, self._caller, self.state.id)
        except Exception as error:
            if (refusal := refusal_of(error)) is None:
                raise
            return refusal.code != NOT_FOUND
        return True

    async def _is_untaken(self, feed: Feed) -> bool:
        """Returns True, once, for a question that no worker takes."""
        if time.monotonic() < self._look_taken_at or feed.is_taken:
            return False
        self._look_taken_at = time.monotonic() + UNTAKEN_AGAIN_S
        untaken = await run_in_threadpool(self._asker.is_untaken, self._caller, self.state.id)
        if untaken:
            self._look_taken_at = math.inf
        return untaken

    async def wait_until_taken(self, stopping: threading.Event) -> None:
        """Waits some seconds for a worker to take the question. GenerationUnavailableError where there is none."""
        until = time.monotonic() + TAKEN_S
        while (feed := self._feed) is not None and not (feed.is_taken or feed.over or stopping.is_set()):
            if await self._is_untaken(feed):
                raise GenerationUnavailableError(f"{UNTAKEN}: {REMEDY}, and ask again.")
            if time.monotonic() > until:
                return
            await _news(feed.changed)

    async def has_seen_all(self) -> bool:
        """Returns True where the answer is finished and no event is left."""
        return self._feed is None and not await self._past()

    async def _past(self) -> list[AnswerEvent]:
        if self._told is None:
            asked = {self.state.id: self._after}
            self._told = [event for _, event in await run_in_threadpool(self._asker.events, self._caller, asked)]
        return self._told

    async def _with_sources(self, event: AnswerEvent) -> AnswerEvent:
        """Returns the event with the sources, which each viewer is shown as far as he may read them now."""
        sources = await run_in_threadpool(self._asker.sources, self._caller, self.state.id)
        return AnswerEvent(event.seq, event.event, {**event.data, "sources": sources})

    async def frames(self, stopping: threading.Event) -> AsyncIterator[bytes]:
        """Yields the events as they are sent; `status` names the answer and its thread."""
        yield RETRY
        named = {"answer": str(self.state.id), "thread": str(self.state.thread) if self.state.thread else None}
        async for event in self.events(stopping):
            data = {**event.data, **named} if event.event == "status" else event.data
            yield framed(event.event, data, event.seq or None)


async def _each(events: list[AnswerEvent]) -> AsyncIterator[AnswerEvent | None]:
    for event in events:
        yield event


async def _present(feed: Feed, stopping: threading.Event) -> AsyncIterator[AnswerEvent | None]:
    """Yields the events as they come, and None where none comes for a moment."""
    at = 0
    while True:
        changed = feed.changed
        while at < len(feed.events):
            yield feed.events[at]
            at += 1
        if (feed.over and at == len(feed.events)) or stopping.is_set():
            return
        if at == len(feed.events) and not await _news(changed):
            yield None


async def _news(changed: asyncio.Event) -> bool:
    """Waits for something new; returns False where nothing came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(POLL_S):
            return await changed.wait()
    return False


def framed(name: str, data: Mapping[str, Any], nth: int | None = None) -> bytes:
    """Returns a server-sent event."""
    lines = [] if nth is None else [f"id: {nth}"]
    # ASCII only: a delta may end within a surrogate pair, which no UTF-8 can hold.
    return "\n".join([*lines, f"event: {name}", f"data: {json.dumps(data, separators=(',', ':'))}", "", ""]).encode()


class Answers:
    """The answers of a service: asking, and watching what is made of a question."""

    def __init__(self, asker: Asker, hub: AnswerHub) -> None:
        self.asker, self._hub = asker, hub

    async def watch(self, caller: Caller, answer: UUID, after: int = 0) -> Viewer:
        """Returns a viewer. Refusal 404, 429, 501, 503; SearchError."""
        state = await run_in_threadpool(self.asker.state, caller, answer)
        return Viewer(self.asker, self._hub, caller, state, after)

    async def ask(self, caller: Caller, asked: Question) -> Viewer:
        """Asks, and returns a viewer of the answer. Refusal 429, 501, 503 or SearchError: then it was not asked."""
        place = self.place(caller)
        try:
            state = await run_in_threadpool(self.asker.ask, caller, asked)
            return Viewer(self.asker, self._hub, caller, state, place=place)
        except BaseException:
            place.release()
            raise

    def place(self, caller: Caller) -> Place:
        """Takes a viewer's place for one who is about to ask. Refusal 429, 503."""
        return self._hub.reserve(caller)

    async def pipelines(self, caller: Caller) -> list[str]:
        """Returns what the caller may ask about: nothing without a role that searches. Refusal 503; SearchError."""
        return await run_in_threadpool(self.asker.pipelines, caller) if caller.search_url else []
