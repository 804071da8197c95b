"""Jobs that are pushed to this process: each request waits while the worker claims and processes its jobs."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pushed_jobs import Posted, PushedJobRepository, release_pushed
from pgembedd.database.records import Job
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.log import get_logger
from pgembedd.loop.deadline import STOP_CHECK_S, Deadline
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.loop.pushed_request import BusyError, Claim, Outcome, PushedRequest

GRACE_S = 5.0  # for jobs in the model when the time is up or the service stops; uvicorn waits for ten
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
        self._changed = threading.Condition()
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
        with self._changed:
            if len(self._requests) >= self._at_once + MAX_WAITING:
                raise BusyError(
                    "Too many requests with jobs are waiting; these stay in the queue. Send them again later."
                )
            self._requests.append(request)
        try:
            self.wake()
            self._wait_for(request)
        finally:
            with self._changed:
                self._requests.remove(request)
                unfinished = request.unfinished()
                for job in unfinished:
                    del self._by_job[job.key]
            self.wake()  # for the request that has waited longest
            self._release_unfinished(unfinished)
        return request.results()

    def _wait_for(self, request: PushedRequest) -> None:
        """Waits until every job has an outcome or the time is up; what is in progress then gets GRACE_S more."""
        with self._changed:
            while (request.parts or not request.is_settled()) and not request.deadline.is_set():
                self._changed.wait(STOP_CHECK_S)
            self._changed.wait_for(request.is_settled, GRACE_S)

    def claim(self, connection: Connection, lease_s: int) -> list[Job] | None:
        """Claims a part of the request that got least so far; returns the jobs to process, None without a request."""
        while self._to_release:
            with _logged(None):
                connection.call(partial(release_pushed, jobs=self._to_release.popleft(), delay_s=RELEASE_DELAY_S))
        with self._changed:
            ready = [request for request in self._requests[: self._at_once] if request.has_part()]
            if not ready:
                return None
            request = min(ready, key=lambda request: len(request.posted))
            request.is_claiming = True
        try:
            posted = request.parts[0](PushedJobRepository(connection, lease_s, request.deadline))
        except Exception as error:
            with self._changed:
                request.fail(error)
                self._changed.notify_all()
            if not isinstance(error, psycopg.Error | DatabaseUnavailableError):
                raise
            if not isinstance(error, psycopg.DataError):  # else what was posted is at fault, and the answer says so
                get_logger().warning("push_refused", error=type(error).__name__)
            return []
        return self._take(connection, request, posted)

    def _take(self, connection: Connection, request: PushedRequest, posted: Sequence[Posted]) -> list[Job]:
        """Returns the claimed jobs, which are in flight then; releases them if the request was answered meanwhile."""
        jobs = list({each.job.key: each.job for each in posted if each.job is not None}.values())
        self.in_flight.add(jobs)
        with self._changed:
            if request in self._requests:
                request.add(posted)
                self._by_job.update(dict.fromkeys((job.key for job in jobs), request))
                self._changed.notify_all()
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
        with self._changed:
            if (request := self._by_job.pop(job.key, None)) is not None:
                request.report(job, outcome)
                self._changed.notify_all()

    def _release_unfinished(self, jobs: Sequence[Job]) -> None:
        """Releases jobs for which the time ran out. They stay in flight while the model works on them."""
        left = self.in_flight.held(jobs)
        if not left:
            return
        until = Deadline(threading.Event(), RELEASE_TIMEOUT_S)
        with _logged(len(left)), closing(Sessions(self._conninfo, "release", pooled=self._pooled)) as sessions:
            _release(Connection(sessions, until), left)


@contextmanager
def _logged(jobs: int | None) -> Iterator[None]:
    """Logs that so many jobs are left to their leases, if the block does not reach the database."""
    try:
        yield
    except (psycopg.Error, DatabaseUnavailableError) as error:
        get_logger().warning("not_handed_back", jobs=jobs, error=type(error).__name__)


def _release(connection: Connection, jobs: Sequence[Job]) -> None:
    JobRepository(connection).release(jobs)
    get_logger().info("released", jobs=len(jobs), delay_s=0.0, why="out of time")
