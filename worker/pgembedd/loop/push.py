"""Processes jobs that are posted instead of claimed from the queue, and returns their outcomes in limited time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Queue

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pushed_jobs import Claimed, Posted, PushedJobRepository
from pgembedd.database.records import Job
from pgembedd.errors import DatabaseUnavailableError, Deferred, PgembeddError
from pgembedd.log import get_logger
from pgembedd.loop.claimer import STOP_CHECK_S
from pgembedd.loop.deadline import Deadline
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.lease_heartbeat import extend_leases
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.pushed_jobs import LOST, UNFINISHED, Outcome, OutcomeRecorder, batches, outcome_of
from pgembedd.loop.reader import Reader
from pgembedd.loop.slots import Slots
from pgembedd.loop.storer import Storer
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import SILENT, Observer, ObserverGroup

BATCH_SIZE = 16  # jobs between two checks of the deadline
MAX_IDLE_CONNECTIONS = 4
MAX_WAITING = 16  # requests that wait for a slot
GRACE_S = 5.0  # for jobs in the model when the service stops; uvicorn waits for ten
RELEASE_TIMEOUT_S = 2.0

Claim = Callable[[PushedJobRepository, int], Claimed]
"""Claims the posted jobs with a lease of so many seconds."""


class BusyError(PgembeddError):
    """Too many requests are in progress; the sender has to repeat this one."""


class PushRequest:
    """The work of one request, in a thread of its own, so that the request is answered even if the work hangs."""

    def __init__(self, pushes: "PushHandler", claim: Claim, deadline: Deadline) -> None:
        self.finished = threading.Event()
        self.claimed: Claimed | None = None
        self.error: Exception | None = None
        self.recorder = OutcomeRecorder()
        self._pushes, self._claim, self._deadline = pushes, claim, deadline
        self._observer = ObserverGroup([pushes.observer, self.recorder])

    def __call__(self) -> None:
        """Waits for a slot, claims the jobs and processes them."""
        try:
            with self._pushes.slots.shared(self._deadline) as acquired:
                if acquired:
                    with self._pushes.connection(self._deadline) as connection:
                        self._process(connection)
                else:
                    self.error = BusyError(
                        "Other jobs are being worked; these stay in the queue. Send them again later."
                    )
        except Exception as error:
            self.error = error
        finally:
            self.finished.set()

    def _process(self, connection: Connection) -> None:
        pushes = self._pushes
        began = time.monotonic()
        claimed = self._claim(PushedJobRepository(connection), pushes.lease_s)
        pushes.in_flight.add(claimed.jobs)
        self.claimed = claimed
        for queue in dict.fromkeys(job.queue for job in claimed.jobs):
            lane = "backfill" if queue.endswith("_backfill") else "fresh"
            mine = [job for job in claimed.jobs if job.queue == queue]
            self._observer.claimed(lane, mine, time.monotonic() - began)
        for batch in batches([job for job in claimed.jobs if not job.suspect], BATCH_SIZE):
            self._embed(connection, batch)
        for job in (job for job in claimed.jobs if job.suspect):
            self._embed_suspect(connection, job)
        # The request may be answered already; this thread then releases the jobs for which time ran out.
        if self._deadline.is_set() and (left := pushes.in_flight.held(claimed.jobs)):
            self._outcomes(connection).release(left, Deferred("out of time", 0.0))
            for job in left:
                self.recorder.note(job, UNFINISHED)

    def _outcomes(self, connection: Connection) -> JobOutcomes:
        return JobOutcomes(JobRepository(connection), self._pushes.in_flight, self._observer)

    def _embed(self, connection: Connection, jobs: Sequence[Job]) -> None:
        pushes = self._pushes
        if self._deadline.is_set():
            return
        if batch := Reader(connection, pushes.models, pushes.in_flight, self._observer).read(jobs):
            Storer(connection, pushes.models, pushes.in_flight, Queue(), observer=self._observer).store(batch)

    def _embed_suspect(self, connection: Connection, job: Job) -> None:
        """Processes a job that may have killed workers while no other job of the queue is in progress here."""
        pushes = self._pushes
        if pushes.loop_here:  # its claims cannot be paused from here; it processes the suspect itself
            self._outcomes(connection).release([job], Deferred("left to be worked alone", 0.0))
            return
        with pushes.slots.exclusive(self._deadline) as acquired:
            if not acquired:
                return
            if not JobRepository(connection).mark_alone(job):
                pushes.in_flight.remove([job])
                self.recorder.note(job, LOST)
                return
            self._observer.suspected(job)
            get_logger().warning("suspect_alone", pipeline=job.pipeline.name, msg_id=job.msg_id, reads=job.read_ct)
            self._embed(connection, [job])


class PushHandler:
    """Processes everything that is posted to one service."""

    def __init__(
        self,
        conninfo: str,
        settings: Settings,
        http: HttpSettings,
        models: ModelRegistry,
        stopping: threading.Event,
        *,
        loop_here: bool,
        observer: Observer = SILENT,
    ) -> None:
        """Connects on the first request. `loop_here`: a loop runs in this process, too."""
        self._conninfo, self._settings, self._stopping = conninfo, settings, stopping
        self._timeout_s = http.http_push_timeout_s
        self.models, self.observer, self.loop_here = PinnedModels(models), observer, loop_here
        self.lease_s = settings.lease_s
        self.in_flight = InFlight()
        self.slots = Slots(http.http_push_at_once)
        self._waiting = threading.Semaphore(http.http_push_at_once + MAX_WAITING)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._finished = threading.Event()
        self._heartbeat: threading.Thread | None = None

    def work(self, claim: Claim) -> list[tuple[Posted, Outcome]]:
        """Claims and processes jobs; returns each posted job with its outcome, in time.

        BusyError, DatabaseUnavailableError, or the psycopg.Error of the claim: then nothing was done.
        """
        if not self._waiting.acquire(blocking=False):
            raise BusyError("Too many requests with jobs are waiting; these stay in the queue. Send them again later.")
        try:
            return self._process(claim)
        finally:
            self._waiting.release()

    def leave(self, claim: Callable[[PushedJobRepository], Claimed]) -> list[tuple[Posted, Outcome]]:
        """Runs only `claim`, at once and in this thread, so that jobs reach the queue under any load."""
        deadline = Deadline(threading.Event(), GRACE_S)
        with self.connection(deadline) as connection:
            return [
                (posted, outcome_of(posted, OutcomeRecorder()))
                for posted in claim(PushedJobRepository(connection)).posted
            ]

    def _process(self, claim: Claim) -> list[tuple[Posted, Outcome]]:
        self._ensure_heartbeat()
        deadline = Deadline(self._stopping, self._timeout_s)
        run = PushRequest(self, claim, deadline)
        threading.Thread(target=run, name="push", daemon=True).start()
        while not deadline.wait(0) and not run.finished.wait(STOP_CHECK_S):
            pass
        run.finished.wait(GRACE_S)  # jobs in the model may still be stored
        if run.claimed is None:
            raise run.error or DatabaseUnavailableError("The database did not answer in time.")
        if run.error is not None:
            get_logger().error("push_failed", error=type(run.error).__name__)
        self._release_unfinished(run.claimed.jobs, failed=run.error is not None)
        return [(posted, outcome_of(posted, run.recorder)) for posted in run.claimed.posted]

    def _release_unfinished(self, jobs: Sequence[Job], *, failed: bool) -> None:
        """Releases unfinished jobs; not after an error that they may have caused: a missing outcome shows it."""
        left = self.in_flight.held(jobs)
        if left and not failed:
            until = Deadline(threading.Event(), RELEASE_TIMEOUT_S)
            connection = Connection(self._conninfo, until, "release", prepare=self._prepare)
            try:
                JobOutcomes(JobRepository(connection), self.in_flight).release(left, Deferred("out of time", 0.0))
            except (psycopg.Error, DatabaseUnavailableError) as error:
                get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)
            finally:
                connection.close()
        self.in_flight.remove(left)

    @property
    def _prepare(self) -> bool:
        return self._settings.wait == "listen"

    @contextmanager
    def connection(self, deadline: Deadline) -> Iterator[Connection]:
        """Lends a connection to one request; idle connections are reused."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        connection = idle.hand_over(deadline) if idle else self._connection("push", deadline)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            # A request may outlast close(), which sets `_finished` first; its connection would stay open then.
            if len(self._idle) < MAX_IDLE_CONNECTIONS and not self._finished.is_set():
                self._idle.append(connection)
                return
        connection.close()

    def _connection(self, purpose: str, until: threading.Event) -> Connection:
        return Connection(self._conninfo, until, purpose, prepare=self._prepare, on_change=self.observer.connection)

    def _ensure_heartbeat(self) -> None:
        """Starts the heartbeat thread unless it is running."""
        with self._lock:
            if self._heartbeat is None or not self._heartbeat.is_alive():
                self._heartbeat = threading.Thread(target=self._run_heartbeat, name="push heartbeat", daemon=True)
                self._heartbeat.start()

    def _run_heartbeat(self) -> None:
        connection = self._connection("push heartbeat", self._finished)
        try:
            leases = JobRepository(connection)
            extend_leases(self._settings, leases, self.in_flight, self._finished, self.observer)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().info("thread_stopped", thread="push heartbeat", error=type(error).__name__)
        finally:
            connection.close()

    def close(self) -> None:
        """Ends the heartbeat and closes idle connections; requests in progress close their own as they end."""
        self._finished.set()
        with self._lock:  # under which it is started: a thread that has not been started cannot be joined
            heartbeat = self._heartbeat
        if heartbeat is not None:
            heartbeat.join(1.0)
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()
