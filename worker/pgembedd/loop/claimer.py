"""The first stage: claims jobs and reads their rows, one claim ahead of the model."""

import time
from collections.abc import Callable, Collection, Sequence
from queue import Queue

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.notifications import JobNotifications
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Job, by_pipeline
from pgembedd.errors import Deferred
from pgembedd.log import get_logger
from pgembedd.loop.claim_size import ClaimSizer
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.queue_order import queue_order
from pgembedd.loop.reader import EmbeddingBatch, Reader
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer

LANES_REFRESH_S = 5.0
FIRST_PAUSE_S = 0.1
STOP_CHECK_S = 0.25  # how often a waiting thread checks whether it is to stop


class Claimer:
    """Claims jobs in a thread of its own until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        models: PinnedModels,
        in_flight: InFlight,
        batches: "Queue[EmbeddingBatch | None]",
        stopping: Callable[[], bool],
        queues: Sequence[str] = (),
        sizer: ClaimSizer | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """`queues` restricts it to these fresh lanes and their backfills; the storer updates `sizer`."""
        self._settings, self._observer = settings, observer
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self._notifications = JobNotifications(connection)
        self._reader = Reader(connection, models, in_flight, observer)
        self._outcomes = JobOutcomes(self._jobs, in_flight, observer)
        self._in_flight, self._batches, self._stopping = in_flight, batches, stopping
        self._queues = queues
        self._sizer = sizer or ClaimSizer(settings.claim_size)
        self._listens = settings.wait == "listen"
        self._lanes: list[tuple[str, str]] = []
        self._lanes_until = 0.0
        self._claims = 0
        self._last_claim = 0  # jobs of the last claim
        self._pause_s = FIRST_PAUSE_S

    def run(self) -> None:
        """Claims until stopped, one claim ahead of the model; waits while the queues are empty."""
        if self._listens:
            self._notifications.listen()
        while not self._stopping():
            if self._in_flight.wait_for(self._has_room, STOP_CHECK_S) and not self.claim_once():
                self._wait_for_jobs()

    def _has_room(self, held: Collection[Key]) -> bool:
        """Returns True while at most the last claim is held, whatever the size of the next."""
        return len(held) <= max(self._last_claim, self._sizer.size)

    def claim_once(self, poll_s: int = 0) -> bool:
        """Claims from the first queue that has jobs; False when all are empty."""
        size = self._sizer.size
        for queue in self._queue_order():
            began = time.monotonic()
            jobs = self._jobs.claim(queue, size, self._settings.lease_s, poll_s)
            poll_s = 0  # only the first queue is waited for
            if jobs:
                self._in_flight.add(jobs)
                self._observer.claimed(self._lane(queue), jobs, time.monotonic() - began)
                self._last_claim = len(jobs)
                if self._listens and len(jobs) >= size:
                    self._notifications.set_idle(False)
                self._read_all(jobs)
                self._pause_s = FIRST_PAUSE_S
                return True
        return False

    def _queue_order(self) -> list[str]:
        if time.monotonic() >= self._lanes_until:
            self._lanes = [lane for lane in self._pipelines.lanes() if not self._queues or lane[0] in self._queues]
            self._lanes_until = time.monotonic() + LANES_REFRESH_S
        self._claims += 1
        return queue_order(self._claims - 1, self._lanes)

    def _lane(self, queue: str) -> str:
        return "fresh" if any(queue == fresh for fresh, _ in self._lanes) else "backfill"

    def _read_all(self, jobs: Sequence[Job]) -> None:
        for batch in by_pipeline(job for job in jobs if not job.suspect):
            self._read_batch(batch)
        suspects = [job for job in jobs if job.suspect]
        for job in suspects:
            self._process_suspect(job, {suspect.key for suspect in suspects})

    def _process_suspect(self, job: Job, suspects: set[Key]) -> None:
        """Processes a job that may have killed workers while no other job is in progress here.

        The other suspects of the claim stay in flight but wait until it has ended.
        """
        while not self._in_flight.wait_for(lambda held: suspects.issuperset(held), STOP_CHECK_S):
            if self._stopping():
                break
        if self._stopping():
            self._outcomes.release([job], Deferred("shutdown", 0.0))
            return
        if not self._jobs.mark_alone(job):
            self._in_flight.remove([job])
            return
        self._observer.suspected(job)
        get_logger().warning("suspect_alone", pipeline=job.pipeline.name, msg_id=job.msg_id, reads=job.read_ct)
        self._read_batch([job])
        while not self._in_flight.wait_for(lambda held: job.key not in held, STOP_CHECK_S):
            if self._stopping():
                return

    def _read_batch(self, batch: Sequence[Job]) -> None:
        if (embedding := self._reader.read(batch)) is not None:
            self._batches.put(embedding)

    def _wait_for_jobs(self) -> None:
        """Requests a NOTIFY, claims once more and waits for it; without LISTEN it waits inside pgmq."""
        if not self._listens:
            # This statement cannot be cancelled: it has to end by itself inside the grace period.
            self.claim_once(poll_s=max(1, round(min(self._settings.poll_max_s, self._settings.grace_s / 2))))
            return
        self._notifications.set_idle(True)
        if not self.claim_once() and not self._wait_for_notification(self._pause_s):
            self._pause_s = min(self._pause_s * 2, self._settings.poll_max_s)

    def _wait_for_notification(self, pause_s: float) -> bool:
        deadline = time.monotonic() + pause_s
        while not self._stopping() and (left := deadline - time.monotonic()) > 0:
            if self._notifications.wait(min(left, STOP_CHECK_S)):
                return True
        return False
