"""Watches answers: with an event loop among many viewers, or alone in a thread."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from anyio.to_thread import run_sync

from pgembedd.answers.feed import Feed
from pgembedd.answers.hub import AnswerHub
from pgembedd.answers.progress import REMEDY, UNTAKEN, UNTAKEN_EVENT, Progress, WorkerCheck
from pgembedd.answers.questions import AnswerState, Question, Questions
from pgembedd.database.answers import AnswerEvent
from pgembedd.database.queries import query
from pgembedd.errors import GenerationTimeoutError, GenerationUnavailableError, SearchError
from pgembedd.search.run import in_transactions

CHECK_S = 0.5  # a NOTIFY may be lost with what a pooler does; then the next look finds the event
POLL_S = 0.2
STOP_CHECK_S = 0.25
TAKEN_S = 5.0  # so long a chat has no status: a busy worker may take much longer
LOOK_S = 5.0  # between two looks at whether a viewer may see the answer still
LOOK_OF_EACH_S = 0.02  # so often at most for all viewers, who come to be many: then the looks are rarer
LOOK_WAIT_S = 0.1  # for a look; meanwhile many may wait for theirs
IDLE_LOOK_S = 30.0  # while nothing new is read, as where no viewer may see the answer any more
NOT_SHARED = AnswerEvent("error", {"message": "The answer is not shared with you any more."})


def ask_and_wait(questions: Questions, asked: Question, timeout_s: float) -> dict[str, Any]:
    """Asks, and returns the finished answer with its notes and sources.

    SearchError where there is none after `timeout_s` seconds, or no worker that takes it. Who is told so has no id to
    come back with, and may ask again: so the question is stopped.
    """
    answer = questions.ask(asked).id
    try:
        _wait_for(questions, answer, timeout_s)
        return _finished(questions, answer)
    except BaseException:
        questions.abandon(answer)
        raise


def _wait_for(questions: Questions, answer: UUID, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    for event in _followed(questions, answer, partial(time.sleep, POLL_S)):
        _check_taken(event)
        if event is None and time.monotonic() > until:
            raise _too_late(timeout_s)


def _check_taken(event: AnswerEvent | None) -> None:
    if event is UNTAKEN_EVENT:
        raise SearchError(f"{UNTAKEN}.", f"It was stopped: {REMEDY}, and ask again.", "53000")


def _too_late(timeout_s: float) -> SearchError:
    hint = "It was stopped. Is a worker with a language model running?"
    return SearchError(f"There was no answer after {timeout_s:g} s.", hint, "57014")


def _finished(questions: Questions, answer: UUID) -> dict[str, Any]:
    now, sources = questions.known(answer), questions.sources(answer)
    return {"status": now.status, "answer": now.answer, "reason": now.reason, "notes": now.notes, "sources": sources}


def follow(connection: psycopg.Connection, answer: UUID, *, timeout_s: float = 120.0) -> Iterator[AnswerEvent]:
    """Yields the events as they come, up to `done` or `error`, as the role of the connection.

    The connection is in autocommit and listens from the first event on. GenerationTimeoutError when nothing has come
    for `timeout_s` seconds; GenerationUnavailableError when no worker takes the question.
    """

    def wait_for_news() -> None:
        for _ in connection.notifies(timeout=CHECK_S, stop_after=1):
            pass

    connection.execute(query("hear_answers"))
    until = time.monotonic() + timeout_s
    for event in _followed(Questions(in_transactions(connection)), answer, wait_for_news):
        if event is UNTAKEN_EVENT:
            raise GenerationUnavailableError(f"{UNTAKEN} {answer}. It stays queued; {REMEDY}.")
        if event is not None:
            yield event
            until = time.monotonic() + timeout_s
        elif time.monotonic() > until:
            raise GenerationTimeoutError(
                f"Nothing has come of the answer {answer} for {timeout_s:g} s: is a worker running that has a "
                "language model (`pgembedd run` with PGEMBEDD_LANGUAGE_HOST)?"
            )


def _followed(questions: Questions, answer: UUID, pause: Callable[[], None]) -> Iterator[AnswerEvent | None]:
    """Yields the events as they come, UNTAKEN_EVENT where no worker takes the question, and None before each pause."""
    progress, check = Progress(), WorkerCheck(first_s=0.0, again_s=0.0)
    while True:
        yield from progress.add([event for _, event in questions.events({str(answer): progress.seq})])
        if progress.over:
            return
        if check.is_due(progress) and check.tells(is_untaken=questions.is_untaken(answer)):
            yield UNTAKEN_EVENT
        yield None
        pause()


class Viewer:
    """One of the viewers of an answer, which may see it. `close` has to be called at the end."""

    def __init__(
        self,
        questions: Questions,
        hub: AnswerHub,
        state: AnswerState,
        after: int = 0,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """Watches from the event after `after`; `leave` is called at the end."""
        self._questions, self._hub, self.state, self._after, self._leave = questions, hub, state, after, leave
        self._feed = None if state.is_finished else hub.join(state.id, questions)
        self._look_at = time.monotonic() + LOOK_S
        self._look: asyncio.Future[AnswerState | None] | None = None
        self._failed = False  # the last look
        self._check = WorkerCheck()
        self._told: list[AnswerEvent] | None = None  # of a finished answer
        self._ended = False  # its last event was shown

    def close(self) -> None:
        """Leaves; it may be called twice."""
        if self._feed is not None:
            self._hub.leave(self._feed, self._questions)
            self._feed = None
        if self._look is not None:
            self._look.cancel()
        self._leave()

    def abandon(self) -> None:
        """Has an answer that is still being made stopped, by a thread, and leaves: it has no other reader."""
        if not self._ended and not self._hub.stopping.is_set():
            asyncio.get_running_loop().run_in_executor(None, self._questions.abandon, self.state.id)
        self.close()

    async def events(self) -> AsyncIterator[AnswerEvent]:
        """Yields what happened and what happens, sources as the role may read them. SearchError."""
        async for events in self.batches():
            for event in events:
                yield event

    async def batches(self) -> AsyncIterator[list[AnswerEvent]]:
        """Yields the same, those events together that are there at the same time."""
        if (feed := self._feed) is None:
            yield [await self._shown(event) for event in await self._past()]
            return
        at, idle = 0, False
        while True:
            changes, known = feed.changes, feed.events[at:]
            if (known or idle) and (end := await self._end_of_sight(feed)):
                yield [end]
                return
            at += len(known)
            if wanted := [event for event in known if event.seq > self._after or event.ends]:
                yield [await self._shown(event, feed) for event in wanted]
            if (feed.over and at == len(feed.events)) or self._hub.stopping.is_set():
                return
            untaken_in_s = self._check.wait_s(feed)
            idle = not await feed.news(changes, IDLE_LOOK_S if untaken_in_s is None else untaken_in_s)
            if idle and await self._is_untaken(feed):
                yield [UNTAKEN_EVENT]

    async def _end_of_sight(self, feed: Feed) -> AnswerEvent | None:
        """Returns the last event where the thread is not shared with it any more; what is shown live is read for all.

        Waits while the looks fail, as for want of a connection.
        """
        while not self._hub.stopping.is_set():
            if self._look is None:
                if time.monotonic() < self._look_at:
                    break
                self._look_at = time.monotonic() + max(LOOK_S, LOOK_OF_EACH_S * len(feed.viewers))
                self._look = asyncio.ensure_future(feed.once(self._questions, Questions.state, LOOK_S))
            if not (await asyncio.wait([self._look], timeout=None if self._failed else LOOK_WAIT_S))[0]:
                break
            look, self._look, self._failed = self._look, None, False
            try:
                return NOT_SHARED if look.result() is None else None
            except Exception as error:
                if (sentence := self._hub.sentence_of(error)) is None:
                    raise
                if not self._hub.passes(error):
                    return AnswerEvent("error", {"message": sentence})
            self._look_at, self._failed = 0.0, True
            await asyncio.sleep(POLL_S)
        return None

    async def _is_untaken(self, feed: Feed) -> bool:
        """Returns True, once, for a question that no worker takes."""
        if not self._check.is_due(feed):
            return False
        return self._check.tells(is_untaken=await run_sync(self._questions.is_untaken, self.state.id))

    async def finished(self, timeout_s: float) -> dict[str, Any]:
        """Returns the finished answer as `ask_and_wait` does. SearchError; GenerationUnavailableError at the end."""
        try:
            await asyncio.wait_for(self._watch_to_end(), timeout_s)
        except TimeoutError:
            raise _too_late(timeout_s) from None
        return await run_sync(_finished, self._questions, self.state.id)

    async def _watch_to_end(self) -> None:
        async for event in self.events():
            _check_taken(event)
        if not self._ended and self._hub.stopping.is_set():
            raise GenerationUnavailableError("The service is stopping; ask again in a moment.")

    async def wait_until_taken(self) -> None:
        """Waits some seconds for a worker to take the question. GenerationUnavailableError where there is none."""
        until = time.monotonic() + TAKEN_S
        while (feed := self._feed) is not None and not (feed.is_taken or feed.over or self._hub.stopping.is_set()):
            if await self._is_untaken(feed):
                raise GenerationUnavailableError(f"{UNTAKEN}: {REMEDY}, and ask again.")
            if time.monotonic() > until:
                return
            await feed.news(feed.changes, STOP_CHECK_S)

    async def has_seen_all(self) -> bool:
        """Returns True where the answer is finished and no event is left."""
        return self._feed is None and not await self._past()

    async def _past(self) -> list[AnswerEvent]:
        if self._told is None:
            found = await run_sync(self._questions.events, {str(self.state.id): self._after})
            self._told = [event for _, event in found]
        return self._told

    async def _shown(self, event: AnswerEvent, feed: Feed | None = None) -> AnswerEvent:
        """Returns the event as this viewer is shown it: with the sources, as far as it may read them now."""
        self._ended = event.ends
        if event.name != "sources":
            return event
        if feed is None:
            sources = await run_sync(self._questions.sources, self.state.id)
        else:
            sources = await feed.once(self._questions, Questions.sources, LOOK_S) or []
        return AnswerEvent(event.name, {**event.data, "sources": sources}, event.seq)
