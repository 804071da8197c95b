"""Jobs that are pushed to this process: each request waits while the worker claims and processes its jobs."""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.notifications import wait_readable
from pgembedd.database.pushed_jobs import Posted, PushedJobRepository
from pgembedd.database.records import Job
from pgembedd.errors import DatabaseUnavailableError, PgembeddError
from pgembedd.log import get_logger
from pgembedd.loop.deadline import STOP_CHECK_S, Deadline
from pgembedd.loop.in_flight import InFlight, Key

MAX_WAITING = 16  # requests beyond those that are in progress
GRACE_S = 5.0  # for jobs in the model when the service stops; uvicorn waits for ten
RELEASE_TIMEOUT_S = 2.0
RELEASE_DELAY_S = 2.0  # until jobs are due again that found no room

Answer = TypeVar("Answer")
Claim = Callable[[PushedJobRepository], list[Posted]]
"""Claims a part of the jobs of a request."""


class BusyError(PgembeddError):
    """Too many requests are in progress; the sender has to repeat this one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job: a word (of a store, or failed, queued, done, skipped), and a sentence if it is not done."""

    word: str
    sentence: str | None = None

    @property
    def done(self) -> bool:
        """Tells that nothing is left to do for the job."""
        return self.word in DONE


DONE = frozenset({"written", "unchanged", "cleared", "gone", "done", "skipped"})
LOST = Outcome("queued", "Another request or worker has claimed it.")
RELEASED = Outcome("queued", "It could not be processed now and waits in the queue; the log says why.")
UNFINISHED = Outcome("queued", "It was not finished in time and waits in the queue.")
_STORED = {
    "changed": Outcome("queued", "Its row changed meanwhile; it waits in the queue."),
    "rewritten": Outcome("queued", "Writing the vector changed its content; it waits in the queue."),
    "locked": Outcome("queued", "Its row is locked; it waits in the queue."),
    "lost": LOST,
}


def stored_outcome(word: str) -> Outcome:
    """Returns the outcome for a word of a store."""
    return _STORED.get(word, Outcome(word))


def failed_outcome(reason: str, outcome: str) -> Outcome:
    """Returns the outcome of a failed attempt, by its reason alone: the detail may hold content."""
    then = "it was given up: see pgembedd.failures." if outcome == "dead" else "it waits for its next attempt."
    return LOST if outcome == "lost" else Outcome("failed", f"It failed ({reason}); {then}")


class PushedRequest:
    """One request: the parts that are still to be claimed, the jobs in progress and their outcomes."""

    def __init__(self, parts: Iterable[Claim], deadline: Deadline) -> None:
        """The worker claims `parts` one by one, until `deadline`."""
        self.error: Exception | None = None
        self.posted: list[Posted] = []
        self._parts, self._deadline = deque(parts), deadline
        self._claiming = False
        self._closed = False
        self._outcomes: dict[Key, Outcome | None] = {}
        self._changed = threading.Condition()

    def has_part(self) -> bool:
        """Tells that a part can be claimed: one is left, and the time is not up."""
        return bool(self._parts) and not self._closed and not self._deadline.is_set()

    def claim(self, repository: PushedJobRepository) -> list[Posted]:
        """Claims the next part. The psycopg.Error of the claim ends the request."""
        self._claiming = True
        try:
            return self._parts[0](repository)
        except Exception as error:
            with self._changed:
                self.error = error
                self._parts.clear()
                self._changed.notify_all()
            raise

    def add(self, posted: Sequence[Posted]) -> list[Job]:
        """Takes the result of a claim; returns the jobs to process, none once the request has been answered."""
        with self._changed:
            if self._closed:
                return []
            self._parts.popleft()
            self.posted += posted
            jobs = {each.job.key: each.job for each in posted if each.job is not None}
            self._outcomes.update(dict.fromkeys(jobs))
            self._changed.notify_all()
            return list(jobs.values())

    def report(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of one of the jobs."""
        with self._changed:
            self._outcomes[job.key] = outcome
            self._changed.notify_all()

    def wait(self) -> None:
        """Waits until every job has an outcome or the time is up; jobs in the model then get GRACE_S more."""
        with self._changed:
            while (self._parts or not self._settled()) and not self._deadline.is_set():
                self._changed.wait(STOP_CHECK_S)
            self._changed.wait_for(self._settled, GRACE_S)

    def close(self) -> list[Key]:
        """Takes no more jobs; returns those without an outcome."""
        with self._changed:
            self._closed = True
            return [key for key, outcome in self._outcomes.items() if outcome is None]

    def results(self) -> list[tuple[Posted, Outcome]]:
        """Returns each posted job with its outcome. Raises why nothing was claimed."""
        if not self.posted and self._parts:
            if self._claiming:
                raise DatabaseUnavailableError("The database did not answer in time.")
            raise BusyError("Other jobs are being worked; these stay in the queue. Send them again later.")
        if not self.posted and self.error is not None:
            raise self.error
        return [(posted, self._outcome(posted)) for posted in self.posted]

    def _outcome(self, posted: Posted) -> Outcome:
        if posted.job is None:
            return Outcome(posted.state, posted.reason)
        return self._outcomes[posted.job.key] or UNFINISHED

    def _settled(self) -> bool:
        return None not in self._outcomes.values()


class PushedJobs:
    """The requests of one process, between the threads that answer them and the worker that processes their jobs."""

    def __init__(
        self,
        conninfo: str,
        stopping: threading.Event,
        *,
        timeout_s: float,
        at_once: int,
        prepare: bool = True,
    ) -> None:
        """A request gets `timeout_s` seconds; `at_once` are processed by turns, MAX_WAITING more wait."""
        self.in_flight = InFlight()  # the worker's
        self._conninfo, self._stopping, self._prepare = conninfo, stopping, prepare
        self._timeout_s, self._at_once = timeout_s, at_once
        self._requests: list[PushedRequest] = []
        self._by_job: dict[Key, PushedRequest] = {}
        self._lock = threading.Lock()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)

    def fileno(self) -> int:
        """Returns a file for `select` that is readable once a request has come."""
        return self._woken.fileno()

    def process(self, parts: Iterable[Claim]) -> list[tuple[Posted, Outcome]]:
        """Has the worker process jobs; returns each that was posted with its outcome, in time.

        Parts that were not reached in time have no result. BusyError, DatabaseUnavailableError, or the error of the
        first claim: then nothing was done.
        """
        request = PushedRequest(parts, Deadline(self._stopping, self._timeout_s))
        with self._lock:
            if len(self._requests) >= self._at_once + MAX_WAITING:
                raise BusyError(
                    "Too many requests with jobs are waiting; these stay in the queue. Send them again later."
                )
            self._requests.append(request)
        try:
            self._waker.send(b"\0")
            request.wait()
        finally:
            with self._lock:
                self._requests.remove(request)
            self._release(request.close())
        return request.results()

    def call(self, work: Callable[[PushedJobRepository], Answer]) -> Answer:
        """Runs `work` at once and in this thread, so that jobs reach the queue whatever the worker does."""
        with closing(self._connection(GRACE_S)) as connection:
            return work(PushedJobRepository(connection))

    def wait(self, timeout_s: float) -> None:
        """Waits until a request has come, for at most `timeout_s` seconds."""
        wait_readable(timeout_s, self)

    def next(self) -> PushedRequest | None:
        """Returns a request that has a part to be claimed: the one that got least so far."""
        with suppress(BlockingIOError):
            while self._woken.recv(64):
                pass
        with self._lock:
            waiting = [request for request in self._requests[: self._at_once] if request.has_part()]
        return min(waiting, key=lambda request: len(request.posted), default=None)

    def add(self, request: PushedRequest, posted: Sequence[Posted]) -> list[Job]:
        """Takes what was claimed for a request; returns the jobs to process."""
        with self._lock:
            jobs = request.add(posted)
            self._by_job.update({job.key: request for job in jobs})
        return jobs

    def report(self, job: Job, outcome: Outcome) -> None:
        """Reports the outcome of a job to the request that waits for it, if there is one."""
        with self._lock:
            request = self._by_job.pop(job.key, None)
        if request is not None:
            request.report(job, outcome)

    def _release(self, unfinished: Sequence[Key]) -> None:
        """Releases jobs for which the time ran out."""
        with self._lock:
            for key in unfinished:
                self._by_job.pop(key, None)
        left = [job for job in self.in_flight.jobs() if job.key in unfinished]
        if not left:
            return
        try:
            with closing(self._connection(RELEASE_TIMEOUT_S)) as connection:
                JobRepository(connection).release(left)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)
        else:
            get_logger().info("released", jobs=len(left), delay_s=0.0, why="out of time")
        self.in_flight.remove(left)

    def _connection(self, timeout_s: float) -> Connection:
        return Connection(self._conninfo, Deadline(threading.Event(), timeout_s), "release", prepare=self._prepare)

    def close(self) -> None:
        """Closes the sockets that wake the worker, which must have ended."""
        self._woken.close()
        self._waker.close()
