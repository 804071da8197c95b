"""Answers questions of the queue, several at once, in its own thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from pgembedd.answers.generation import LanguageModel, Written
from pgembedd.answers.lanes import Lane, Sources
from pgembedd.answers.outbox import Outbox
from pgembedd.answers.statements import StatementThread
from pgembedd.database.answers import AnswerEvent, AnswerJob, AnswerRepository
from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.listener import Waker
from pgembedd.errors import DatabaseUnavailableError, GenerationError, GenerationUnavailableError
from pgembedd.log import get_logger
from pgembedd.settings import LanguageSettings, Settings
from pgembedd.text.unicode import storable

Result = TypeVar("Result")

FLUSH_S = 0.075  # between two statements with deltas; each takes those of all answers
STOP_CHECK_S = 0.25
MAX_POLL_S = 2.0  # a person waits; _is_untaken() in SQL relies on it
ERROR_PAUSE_S = 5.0
RELEASE_S = 0.5  # of the second that the worker gives its threads at the end


class Answerer:
    """Claims questions and answers them until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        language: LanguageSettings,
        connect: Callable[[str, threading.Event], Connection],
        waker: Waker,
        stopping: threading.Event,
        finished: threading.Event,
    ) -> None:
        """`connect(purpose, until)` makes its connections. ConfigurationError for a server that cannot be asked."""
        self._settings, self._at_once = settings, language.language_at_once
        self._model = LanguageModel(language)
        self._claims, self._waker = AnswerRepository(connect("ask claims", stopping)), waker
        self._writes = AnswerRepository(connect("ask", finished))
        self._stopping, self._finished = stopping, finished
        self._outbox = Outbox()
        self._lanes = [
            Lane(connect(purpose, stopping), settings.owner_timeout_s, slow=slow)
            for purpose, slow in (("ask rows", False), ("ask slow rows", True))
        ]
        self._held: dict[AnswerJob, asyncio.Task[Any]] = {}
        """The answers that are being made, and those whose sources are being read."""
        self._tasks: dict[asyncio.Task[Any], AnswerJob] = {}
        """Those and the ones that are being stored."""
        self._answering: set[asyncio.Task[None]] = set()
        """What holds a slot."""

    def run(self) -> None:
        """Claims until stopped, then lets the answers in progress end, or hands them back when time is up."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._claiming, self._writing = StatementThread("answer claims"), StatementThread("answer writes")
        self._shown, self._order = asyncio.Event(), asyncio.Lock()
        flushing = asyncio.create_task(self._flush())
        try:
            await asyncio.gather(*(self._serve(lane) for lane in self._lanes))
            while self._tasks and not self._finished.is_set():
                await asyncio.wait(self._tasks, timeout=STOP_CHECK_S)
            await self._release()
        finally:
            flushing.cancel()
            self._claiming.close()
            self._writing.close()
            for lane in self._lanes:
                lane.close()

    async def _serve(self, lane: Lane) -> None:
        while not self._stopping.is_set():
            await self._logged(lambda: self._claim(lane))

    async def _logged(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """Returns the result of `work()`; None after a database error, which is logged: the process continues."""
        try:
            return await work()
        except (psycopg.Error, DatabaseUnavailableError) as error:
            if self._stopping.is_set() and is_connection_error(error):
                return None
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            get_logger().error("answers_failed", error=type(error).__name__, sqlstate=state)
            await self._pause(ERROR_PAUSE_S)
            return None

    async def _pause(self, seconds: float) -> None:
        while seconds > 0 and not self._stopping.is_set():
            await asyncio.sleep(min(seconds, STOP_CHECK_S))
            seconds -= STOP_CHECK_S

    async def _claim(self, lane: Lane) -> None:
        """Claims a question, reads its sources and begins its answer; waits where there is no slot, or no question."""
        if not await self._has_slot(lane):
            return
        lease_s, unfinished = self._settings.lease_s, list(self._tasks.values())
        job = await self._claiming.run(lambda: self._claims.claim(lease_s, unfinished, slow=lane.slow))
        if job is None:
            await self._wait_for_questions(lane)
            return
        reading = self._hold(job, self._logged(lambda: lane.read(job)))
        if not await self._has_ended(reading) or reading.cancelled():
            return
        if (sources := reading.result()) is None:
            self._let_go(job)
        elif await self._has_slot(lane) and job in self._held:
            answering = self._hold(job, self._answer(job, sources))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
            if lane.slow:
                await self._has_ended(answering)

    def _hold(self, job: AnswerJob, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Works on a question whose lease is extended until `_let_go`."""
        task = asyncio.create_task(work)
        self._held[job] = task
        self._tasks[task] = job
        task.add_done_callback(self._tasks.pop)
        return task

    async def _has_slot(self, lane: Lane) -> bool:
        """Waits for a slot, which is never the last of several where the lane is slow; False for the end."""
        spare = 1 if lane.slow and self._at_once > 1 else 0
        while len(self._answering) >= self._at_once - spare and not self._stopping.is_set():
            await asyncio.wait(self._answering, timeout=STOP_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
        return not self._stopping.is_set()

    async def _has_ended(self, task: asyncio.Task[Any]) -> bool:
        """Waits for a task; False where the worker is to end before."""
        while not task.done() and not self._stopping.is_set():
            await asyncio.wait({task}, timeout=STOP_CHECK_S)
        return task.done()

    async def _wait_for_questions(self, lane: Lane) -> None:
        if self._settings.wait != "listen" or lane.slow:
            await self._pause(min(self._settings.poll_max_s, MAX_POLL_S))
            return
        left_s = self._settings.poll_max_s
        while left_s > 0 and not await self._claiming.run(lambda: self._waker.wait(STOP_CHECK_S)):
            left_s -= STOP_CHECK_S

    async def _answer(self, job: AnswerJob, sources: Sources) -> None:
        def show(event: AnswerEvent) -> None:
            self._outbox.add(job, event)
            self._shown.set()

        try:
            written = await self._model.answer(replace(job, sources=sources), show)
        except GenerationError as error:
            await self._logged(partial(self._fail, job, error, str(error)))
        except Exception as error:
            sentence = f"The answer could not be made ({type(error).__name__})."
            await self._logged(partial(self._fail, job, error, sentence))
        else:
            await self._logged(partial(self._finish, job, written))
        finally:
            self._let_go(job)

    def _let_go(self, job: AnswerJob) -> Sequence[AnswerEvent]:
        """Ends the extension of its lease; returns its events that are not written yet."""
        self._held.pop(job, None)
        return self._outbox.take_of(job)

    async def _finish(self, job: AnswerJob, written: Written) -> None:
        status, done = written.done()
        citations = written.citations.valid
        async with self._order:  # deltas whose writing fails just now are written here
            last = [*self._let_go(job), done]
            kept = await self._writing.run(lambda: self._writes.finish(job, status, written.text, citations, last))
        if kept:
            get_logger().info("answered", answer=str(job.id), status=status)
        else:
            get_logger().info("answer_lost", answer=str(job.id))

    async def _fail(self, job: AnswerJob, error: Exception, sentence: str) -> None:
        """Ends the attempt. Only a server that was away or busy is asked again: other errors would cost again."""
        self._let_go(job)
        away, message = isinstance(error, GenerationUnavailableError), storable(sentence)
        delay_s = error.retry_after_s if isinstance(error, GenerationUnavailableError) else None
        outcome = await self._writing.run(lambda: self._writes.fail(job, message, permanent=not away, delay_s=delay_s))
        get_logger().warning("answer_failed", answer=str(job.id), error=type(error).__name__, outcome=outcome)

    async def _flush(self) -> None:
        """Writes what was shown, the first part of an answer at once, and extends leases."""
        loop, lease_s = asyncio.get_running_loop(), self._settings.lease_s
        extended = loop.time()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shown.wait(), lease_s / 3)
            self._shown.clear()
            await self._logged(self._keep)
            if loop.time() - extended >= lease_s / 3:
                extended = loop.time()
                await self._logged(self._extend)
            await asyncio.sleep(FLUSH_S)

    async def _keep(self) -> None:
        """Writes what was shown; what the database does not take waits for the next time, or for the answer's end."""
        async with self._order:
            if not (events := self._outbox.take()):
                return
            try:
                kept = await self._writing.run(lambda: self._writes.write(events))
            except (psycopg.Error, DatabaseUnavailableError):
                self._outbox.put_back([one for one in events if one[0] in self._held])
                self._shown.set()
                raise
        self._stop({job for job, _ in events}, kept)

    async def _extend(self) -> None:
        if jobs := list(self._held):
            kept = await self._writing.run(lambda: self._writes.extend(jobs, self._settings.lease_s))
            self._stop(jobs, kept)

    def _stop(self, jobs: Iterable[AnswerJob], kept: Collection[UUID]) -> None:
        """Ends those answers that are not kept: another worker has them by now, or their askers stopped them."""
        for job in jobs:
            if job.id not in kept and job in self._held:
                get_logger().info("answer_lost", answer=str(job.id))
                self._held[job].cancel()
                self._let_go(job)

    async def _release(self) -> None:
        """Hands back what is not finished."""
        jobs = list(self._held)
        for task in self._held.values():
            task.cancel()
        if jobs:
            with suppress(psycopg.Error, DatabaseUnavailableError, TimeoutError):
                await asyncio.wait_for(self._writing.run(lambda: self._writes.release(jobs)), RELEASE_S)
            get_logger().info("answers_released", answers=len(jobs))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_S)
