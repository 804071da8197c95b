"""The first stage: claims jobs and has them read, always one claim ahead of the model."""

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
from pgembedd.loop.reader import Reader, Work
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer

LANES_EVERY_S = 5.0
FIRST_PAUSE_S = 0.1
LOOK_UP_S = 0.25  # how often anything that waits looks whether it is to stop


class Claimer:
    """Runs in a thread of its own until told to stop."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        models: PinnedModels,
        in_flight: InFlight,
        deliveries: "Queue[Work | None]",
        stopping: Callable[[], bool],
        queues: Sequence[str] = (),
        pace: ClaimSizer | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """`queues` restricts it to these fresh lanes and their backfills; `pace` is what the storer measures."""
        self._settings, self._observer = settings, observer
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self._notifications = JobNotifications(connection)
        self._reader = Reader(connection, models, in_flight, observer)
        self._outcomes = JobOutcomes(self._jobs, in_flight, observer)
        self._in_flight, self._deliveries, self._stopping = in_flight, deliveries, stopping
        self._queues = queues
        self._pace = pace or ClaimSizer(settings.claim_size)
        self._listens = settings.wait == "listen"
        self._lanes: list[tuple[str, str]] = []
        self._lanes_until = 0.0
        self._turn = 0
        self._last = 0  # jobs of the last claim
        self._pause_s = FIRST_PAUSE_S

    def run(self) -> None:
        """Claim until stopped, one claim ahead of the model; sleep when there is nothing."""
        if self._listens:
            self._notifications.listen()
        while not self._stopping():
            if self._in_flight.wait_for(self._has_room, LOOK_UP_S) and not self.turn():
                self._sleep()

    def _has_room(self, held: Collection[Key]) -> bool:
        """One claim ahead of the model: at most the last claim is held, whatever the size of the next."""
        return len(held) <= max(self._last, self._pace.size)

    def turn(self, poll_s: int = 0) -> bool:
        """One claim, from the first lane that has any jobs; False when none has."""
        size = self._pace.size
        for queue in self._order():
            began = time.monotonic()
            jobs = self._jobs.claim(queue, size, self._settings.lease_s, poll_s)
            poll_s = 0  # one wait a turn
            if jobs:
                self._in_flight.add(jobs)
                self._observer.claimed(self._lane(queue), jobs, time.monotonic() - began)
                self._last = len(jobs)
                if self._listens and len(jobs) >= size:
                    self._notifications.set_idle(False)
                self._work(jobs)
                self._pause_s = FIRST_PAUSE_S
                return True
        return False

    def _order(self) -> list[str]:
        if time.monotonic() >= self._lanes_until:
            self._lanes = [lane for lane in self._pipelines.lanes() if not self._queues or lane[0] in self._queues]
            self._lanes_until = time.monotonic() + LANES_EVERY_S
        self._turn += 1
        return queue_order(self._turn - 1, self._lanes)

    def _lane(self, queue: str) -> str:
        return "fresh" if any(queue == fresh for fresh, _ in self._lanes) else "backfill"

    def _work(self, jobs: Sequence[Job]) -> None:
        for batch in by_pipeline(job for job in jobs if not job.suspect):
            self._read(batch)
        suspects = [job for job in jobs if job.suspect]
        for job in suspects:
            self._work_alone(job, {suspect.key for suspect in suspects})

    def _work_alone(self, job: Job, suspects: set[Key]) -> None:
        """A job that may have killed workers gets this one to itself, so that nothing else dies with it.

        The other suspects of the claim are held, too, but nobody works on them meanwhile.
        """
        while not self._in_flight.wait_for(lambda held: suspects.issuperset(held), LOOK_UP_S):
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
        self._read([job])
        while not self._in_flight.wait_for(lambda held: job.key not in held, LOOK_UP_S):
            if self._stopping():
                return

    def _read(self, batch: Sequence[Job]) -> None:
        if (work := self._reader.read(batch)) is not None:
            self._deliveries.put(work)

    def _sleep(self) -> None:
        """Nothing to do. Ask for a NOTIFY, look once more, then wait for it; or wait inside pgmq."""
        if not self._listens:
            # This statement cannot be cancelled: it has to end by itself inside the grace period.
            self.turn(poll_s=max(1, round(min(self._settings.poll_max_s, self._settings.grace_s / 2))))
            return
        self._notifications.set_idle(True)
        if not self.turn() and not self._heard(self._pause_s):
            self._pause_s = min(self._pause_s * 2, self._settings.poll_max_s)

    def _heard(self, pause_s: float) -> bool:
        deadline = time.monotonic() + pause_s
        while not self._stopping() and (left := deadline - time.monotonic()) > 0:
            if self._notifications.hear(min(left, LOOK_UP_S)):
                return True
        return False
