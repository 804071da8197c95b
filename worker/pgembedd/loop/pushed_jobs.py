"""Jobs that are pushed to this process: each request waits while the worker claims and processes its jobs."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pushed_jobs import Posted, release_pushed
from pgembedd.database.records import Job
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.log import get_logger
from pgembedd.loop.deadline import Deadline
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.loop.pushed_request import BusyError, Claim, Outcome, PushedRequest

MAX_WAITING = 16  # requests beyond those that are in progress
RELEASE_TIMEOUT_S = 2.0
RELEASE_DELAY_S = 2.0  # until jobs that found no room are due again
MAX_RELEASES = 256  # requests whose jobs are to be released later; the oldest are left to the lease of their sender


class PushedJobs:
    """The requests of one process, between the threads that answer them and the worker that processes their jobs."""

    def __init__(
        self,
        conninfo: str,
        stopping: threading.Event,
        *,
        timeout_s: float,
        at_once: int,
        pooled: bool = False,
    ) -> None:
        """A request gets `timeout_s` seconds; `at_once` are processed by turns, MAX_WAITING more wait."""
        self.in_flight = InFlight()  # the worker's
        self._conninfo, self._stopping, self._pooled = conninfo, stopping, pooled
        self._timeout_s, self._at_once = timeout_s, at_once
        self._requests: list[PushedRequest] = []
        self._by_job: dict[Key, PushedRequest] = {}
        self._to_release: deque[str] = deque(maxlen=MAX_RELEASES)
        self._lock = threading.Lock()
        self.asked = False  # a request has come
        self.wake: Callable[[], object] = lambda: None
        """Is called once a request may be processed that could not be before."""

    def process(self, parts: Iterable[Claim]) -> list[tuple[Posted, Outcome]]:
        """Has the worker process jobs; returns each that was posted with its outcome, in time.

        Parts that were not reached in time have no result. BusyError, DatabaseUnavailableError, or the error of the
        first claim: then nothing was done.
        """
        self.asked = True
        request = PushedRequest(parts, Deadline(self._stopping, self._timeout_s))
        with self._lock:
            if len(self._requests) >= self._at_once + MAX_WAITING:
                raise BusyError(
                    "Too many requests with jobs are waiting; these stay in the queue. Send them again later."
                )
            self._requests.append(request)
        try:
            self.wake()
            request.wait()
        finally:
            with self._lock:
                self._requests.remove(request)
                unfinished = request.close()
                for job in unfinished:
                    del self._by_job[job.key]
            self.wake()  # for the request that has waited longest
            self._release_unfinished(unfinished)
        return request.results()

    def claim(self, connection: Connection, lease_s: int) -> list[Job] | None:
        """Claims a part of the request that got least so far; returns the jobs to process, None without a request."""
        request = self._next()
        while self._to_release:
            self._release_posted(connection, self._to_release.popleft())
        if request is None:
            return None
        try:
            posted = request.claim(connection, lease_s)
        except psycopg.DataError:  # what was posted is at fault, and the answer says so
            return []
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("push_refused", error=type(error).__name__)
            return []
        jobs = list({each.job.key: each.job for each in posted if each.job is not None}.values())
        self.in_flight.add(jobs)
        with self._lock:
            if request.add(posted):
                self._by_job.update(dict.fromkeys((job.key for job in jobs), request))
                return jobs
        if jobs:
            _release(connection, jobs)
            self.in_flight.remove(jobs)
        return []

    def release_later(self, jobs: str) -> None:
        """Has the worker release posted jobs that were not claimed, once the database can be reached."""
        self._to_release.append(jobs)
        self.wake()

    def report(self, job: Job, outcome: Outcome) -> None:
        """Reports the outcome of a job to the request that waits for it, if there is one."""
        with self._lock:
            if (request := self._by_job.pop(job.key, None)) is not None:
                request.report(job, outcome)

    def _next(self) -> PushedRequest | None:
        with self._lock:
            ready = [request for request in self._requests[: self._at_once] if request.has_part()]
        return min(ready, key=lambda request: len(request.posted), default=None)

    def _release_posted(self, connection: Connection, jobs: str) -> None:
        try:
            connection.call(partial(release_pushed, jobs=jobs, delay_s=RELEASE_DELAY_S))
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("not_handed_back", jobs=None, error=type(error).__name__)

    def _release_unfinished(self, jobs: Sequence[Job]) -> None:
        """Releases jobs for which the time ran out. They stay in flight while the model works on them."""
        left = self.in_flight.held(jobs)
        if not left:
            return
        until = Deadline(threading.Event(), RELEASE_TIMEOUT_S)
        try:
            with closing(Sessions(self._conninfo, "release", pooled=self._pooled)) as sessions:
                _release(Connection(sessions, until), left)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)


def _release(connection: Connection, jobs: Sequence[Job]) -> None:
    JobRepository(connection).release(jobs)
    get_logger().info("released", jobs=len(jobs), delay_s=0.0, why="out of time")
