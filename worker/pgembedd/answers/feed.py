"""The events of an answer on their way to its viewers."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from pgembedd.answers.progress import Progress
from pgembedd.answers.questions import Questions
from pgembedd.database.answers import AnswerEvent

Result = TypeVar("Result")


class Feed(Progress):
    """The events of one answer so far, for its viewers, who each go through `events` at their own pace."""

    def __init__(self, answer: UUID, lookers: CapacityLimiter) -> None:
        """`lookers` bounds the threads that ask for single viewers."""
        super().__init__()
        self.answer, self.key, self._lookers = answer, str(answer), lookers
        self.viewers: list[Questions] = []
        self.unreadable: set[str] = set()  # the rights with which it could not be read
        self.read = 0  # the number of the last event that was read, which may be on its way to `events`
        self.changes = 0  # how often there was something new
        self._waiting: set[asyncio.Future[bool]] = set()
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
        if not self.over:
            self.events.append(AnswerEvent("error", {"message": sentence}))
            self.over = True
            self.wake()

    def wake(self) -> None:
        """Has the viewers look for news."""
        self.changes += 1
        for waiting in self._waiting:
            _end(waiting, there=True)

    async def news(self, changes: int, timeout_s: float | None) -> bool:
        """Waits for something new since there were so many `changes`; returns False where nothing came for so long."""
        if self.changes != changes:
            return True
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _end, waiting)
        self._waiting.add(waiting)
        try:
            return bool(await waiting)
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()


def _end(waiting: "asyncio.Future[bool]", *, there: bool = False) -> None:
    if not waiting.done():
        waiting.set_result(there)
