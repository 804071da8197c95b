"""Work that comes by request instead of from the queue: claimed, worked as the loop does, and told, in limited time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING

import psycopg

from worker.deliver import Deliverer
from worker.errors import DatabaseUnavailableError, NotNow, PgembeddError
from worker.fetch import LOOK_UP_S, prepare
from worker.gateway import Gateway
from worker.heartbeat import keep_claims
from worker.inflight import InFlight
from worker.jobs import Job, by_pipeline
from worker.log import get_logger
from worker.observe import Several
from worker.outcomes import release_jobs
from worker.posted import LOST, UNFINISHED, Claimed, Ledger, Outcome, Posted, PushGateway
from worker.room import Room

if TYPE_CHECKING:
    from worker.http.service import Service

PIECE = 16  # jobs between two looks at the clock
KEPT = 4  # connections that nobody uses
LINE = 16  # requests that wait for their turn
GRACE_S = 5.0  # for what is in the model when the service stops; uvicorn waits for ten
HANDBACK_S = 2.0

Claim = Callable[[PushGateway, int], Claimed]
"""Claims what was posted, for so many seconds."""


class BusyError(PgembeddError):
    """So many requests are being worked that this one has to come again."""


class Deadline(threading.Event):
    """Set when told, when the service stops, or when the time is up."""

    def __init__(self, stopping: threading.Event, timeout_s: float) -> None:
        super().__init__()
        self._stopping, self._at = stopping, time.monotonic() + timeout_s

    def is_set(self) -> bool:
        """Whether it is over."""
        return super().is_set() or self._stopping.is_set() or time.monotonic() >= self._at

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, at most so long, until it is over."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, LOOK_UP_S))
        return self.is_set()


class Run:
    """The work of one request, in a thread of its own, so that the request can be answered whatever hangs."""

    def __init__(self, pushes: "Pushes", claim: Claim, deadline: Deadline) -> None:
        self.finished = threading.Event()
        self.claimed: Claimed | None = None
        self.error: Exception | None = None
        self.ledger = Ledger()
        self._pushes, self._claim, self._deadline = pushes, claim, deadline

    def __call__(self) -> None:
        """Wait for a turn, claim, work."""
        try:
            with self._pushes.room.one(self._deadline) as turn:
                if turn:
                    with self._pushes.lent(self._deadline, self.ledger) as gateway:
                        self._work(gateway)
                else:
                    self.error = BusyError(
                        "Other jobs are being worked; these stay in the queue. Send them again later."
                    )
        except Exception as error:
            self.error = error
        finally:
            self.finished.set()

    def _work(self, gateway: PushGateway) -> None:
        pushes = self._pushes
        began = time.monotonic()
        claimed = self._claim(gateway, pushes.lease_s)
        pushes.in_flight.add(claimed.jobs)
        self.claimed = claimed
        for queue in dict.fromkeys(job.queue for job in claimed.jobs):
            lane = "backfill" if queue.endswith("_backfill") else "fresh"
            mine = [job for job in claimed.jobs if job.queue == queue]
            gateway.observer.claimed(lane, mine, time.monotonic() - began)
        deliverer = Deliverer(gateway, pushes.models, pushes.in_flight, Queue())
        for piece in _pieces([job for job in claimed.jobs if not job.suspect]):
            self._piece(gateway, deliverer, piece)
        for job in (job for job in claimed.jobs if job.suspect):
            self._alone(gateway, deliverer, job)
        # What the clock left over is handed back by the request, which may be answered already.
        if self._deadline.is_set() and (left := pushes.in_flight.held(claimed.jobs)):
            release_jobs(gateway, pushes.in_flight, left, NotNow("out of time", 0.0))
            for job in left:
                self.ledger.note(job, UNFINISHED)

    def _piece(self, gateway: PushGateway, deliverer: Deliverer, jobs: Sequence[Job]) -> None:
        pushes = self._pushes
        if not self._deadline.is_set() and (work := prepare(gateway, pushes.models, pushes.in_flight, jobs)):
            deliverer.deliver(work)

    def _alone(self, gateway: PushGateway, deliverer: Deliverer, job: Job) -> None:
        """A job that may have killed workers: nothing else of the queue is worked here meanwhile."""
        pushes = self._pushes
        if pushes.loop_here:  # whose claims we cannot hold up; it works this one alone itself
            release_jobs(gateway, pushes.in_flight, [job], NotNow("left to be worked alone", 0.0))
            return
        with pushes.room.alone(self._deadline) as turn:
            if not turn:
                return
            if not gateway.mark_alone(job):
                pushes.in_flight.remove([job])
                self.ledger.note(job, LOST)
                return
            gateway.observer.suspected(job)
            get_logger().warning("suspect_alone", pipeline=job.pipeline.name, msg_id=job.msg_id, reads=job.read_ct)
            self._piece(gateway, deliverer, [job])


class Pushes:
    """Everything that is posted to one service goes through here."""

    def __init__(self, conninfo: str, service: "Service") -> None:
        """Nothing is connected before something is posted."""
        self._conninfo, self._settings, self._stopping = conninfo, service.settings, service.stopping
        self._timeout_s = service.http.http_push_timeout_s
        self.models, self.observer, self.loop_here = service.models, service.observer, service.worker is not None
        self.lease_s = service.settings.lease_s
        self.in_flight = InFlight()
        self.room = Room(service.http.http_push_at_once)
        self._line = threading.Semaphore(service.http.http_push_at_once + LINE)
        self._lock = threading.Lock()
        self._idle: list[PushGateway] = []
        self._finished = threading.Event()
        self._heart: threading.Thread | None = None

    def work(self, claim: Claim) -> list[tuple[Posted, Outcome]]:
        """Claim and work; what became of each that was posted, in time.

        BusyError, DatabaseUnavailableError, or the psycopg.Error of the claim: then nothing was done.
        """
        if not self._line.acquire(blocking=False):
            raise BusyError("Too many requests with jobs are waiting; these stay in the queue. Send them again later.")
        try:
            return self._worked(claim)
        finally:
            self._line.release()

    def leave(self, claim: Callable[[PushGateway], Claimed]) -> list[tuple[Posted, Outcome]]:
        """Only what `claim` does, at once and in this thread: for what must be in the queue however busy we are."""
        deadline = Deadline(threading.Event(), GRACE_S)
        with self.lent(deadline, Ledger()) as gateway:
            return [(posted, _outcome(posted, Ledger())) for posted in claim(gateway).posted]

    def _worked(self, claim: Claim) -> list[tuple[Posted, Outcome]]:
        self._keep()
        deadline = Deadline(self._stopping, self._timeout_s)
        run = Run(self, claim, deadline)
        threading.Thread(target=run, name="push", daemon=True).start()
        while not deadline.wait(0) and not run.finished.wait(LOOK_UP_S):
            pass
        run.finished.wait(GRACE_S)  # what is in the model may still be stored
        if run.claimed is None:
            raise run.error or DatabaseUnavailableError("The database did not answer in time.")
        if run.error is not None:
            self._note_error(run.error)
        self._hand_back(run.claimed.jobs, failed=run.error is not None)
        return [(posted, _outcome(posted, run.ledger)) for posted in run.claimed.posted]

    def _note_error(self, error: Exception) -> None:
        get_logger().error("push_failed", error=type(error).__name__)

    def _hand_back(self, jobs: Sequence[Job], *, failed: bool) -> None:
        """What is not finished. Not after an error: it may be what these jobs did, and only an open read says so."""
        left = self.in_flight.held(jobs)
        if left and not failed:
            gateway = Gateway(self._conninfo, Deadline(threading.Event(), HANDBACK_S), "release", prepare=self._prepare)
            try:
                release_jobs(gateway, self.in_flight, left, NotNow("out of time", 0.0))
            except (psycopg.Error, DatabaseUnavailableError) as error:
                get_logger().warning("not_handed_back", jobs=len(left), error=type(error).__name__)
            finally:
                gateway.close()
        self.in_flight.remove(left)

    @property
    def _prepare(self) -> bool:
        return self._settings.wait == "listen"

    @contextmanager
    def lent(self, deadline: Deadline, ledger: Ledger) -> Iterator[PushGateway]:
        """A gateway for one request, with a connection that an earlier one made where there is one."""
        with self._lock:
            gateway = self._idle.pop() if self._idle else None
        gateway = gateway or PushGateway(self._conninfo, deadline, "push", prepare=self._prepare)
        gateway.lend(deadline, Several([self.observer, ledger]))
        try:
            yield gateway
        except BaseException:
            gateway.close()
            raise
        with self._lock:
            # Work may outlive close(), which sets this before it looks for what is idle: nobody would close it then.
            if len(self._idle) < KEPT and not self._finished.is_set():
                self._idle.append(gateway)
                return
        gateway.close()

    def _keep(self) -> None:
        """Extend the leases of what is in flight; a heart that has stopped is started again."""
        with self._lock:
            if self._heart is None or not self._heart.is_alive():
                self._heart = threading.Thread(target=self._beat, name="push heartbeat", daemon=True)
                self._heart.start()

    def _beat(self) -> None:
        beats = Gateway(self._conninfo, self._finished, "push heartbeat", prepare=self._prepare, observer=self.observer)
        try:
            keep_claims(self._settings, beats, self.in_flight, self._finished)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().info("thread_stopped", thread="push heartbeat", error=type(error).__name__)
        finally:
            beats.close()

    def close(self) -> None:
        """End the heartbeat and close the connections that nobody uses; work that goes on closes its own as it ends."""
        self._finished.set()
        with self._lock:  # under which it is started: a thread that has not been cannot be joined
            heart = self._heart
        if heart is not None:
            heart.join(1.0)
        with self._lock:
            for gateway in self._idle:
                gateway.close()
            self._idle.clear()


def _pieces(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Some jobs at a time, of one queue and one pipeline: a request may bring them mixed, which a claim never does."""
    for queue in dict.fromkeys(job.queue for job in jobs):
        for batch in by_pipeline(job for job in jobs if job.queue == queue):
            yield from (batch[start : start + PIECE] for start in range(0, len(batch), PIECE))


def _outcome(posted: Posted, ledger: Ledger) -> Outcome:
    if posted.state == "claimed" and posted.name is not None:
        return ledger.outcomes.get(posted.name, UNFINISHED)
    return Outcome(posted.state, posted.reason)
