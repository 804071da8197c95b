"""The first stage: claim, read, tokenise and hand to the model, always one claim ahead of it."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from queue import Queue

from pgembedd.database.records import Content, Job, by_pipeline
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import isolate
from pgembedd.loop.chunk_rows import cut
from pgembedd.loop.claim_size import ClaimSizer
from pgembedd.loop.gateway import Gateway
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.loop.job_outcomes import fail_job, release_jobs
from pgembedd.loop.pinning import Models
from pgembedd.loop.queue_order import queue_order
from pgembedd.model.embedder import EmbeddingsFuture, start
from pgembedd.settings import Settings

LANES_EVERY_S = 5.0
FIRST_PAUSE_S = 0.1
LOOK_UP_S = 0.25  # how often anything that waits looks whether it is to stop


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of one pipeline whose texts are in the model: `pending` has a vector for each of the contents' texts.

    `since` is when they were handed over, by the monotonic clock.
    """

    jobs: Sequence[Job]
    contents: Sequence[Content]
    pending: EmbeddingsFuture | None
    since: float = field(default_factory=time.monotonic)


def prepare(gateway: Gateway, models: Models, in_flight: InFlight, batch: Sequence[Job]) -> Work | None:
    """Read the content of one pipeline's jobs and start embedding it; what cannot be read or cut is failed or released.

    None when nothing is left of the batch.
    """
    try:
        model = models.serving(batch[0].pipeline, gateway)
        began = time.monotonic()
        readable: list[tuple[Job, Content]] = []
        for job, content in isolate(batch, gateway.read):
            try:
                if isinstance(content, RowFailure):
                    raise content
                readable.append((job, cut(job, content, model)))
            except RowFailure as failure:
                fail_job(gateway, in_flight, job, failure)
    except Deferred as not_now:
        release_jobs(gateway, in_flight, batch, not_now)
        return None
    if not readable:
        return None
    jobs, contents = zip(*readable, strict=True)
    gateway.observer.read(jobs, time.monotonic() - began)
    texts = [text for content in contents for text in content.texts]
    return Work(jobs, contents, start(model, texts) if texts else None)


class Claimer:
    """Runs in a thread of its own until told to stop."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        models: Models,
        in_flight: InFlight,
        deliveries: "Queue[Work | None]",
        stopping: Callable[[], bool],
        queues: Sequence[str] = (),
        pace: ClaimSizer | None = None,
    ) -> None:
        """`queues` restricts it to these fresh lanes and their backfills; `pace` is what the deliverer tells."""
        self._settings, self._gateway, self._models = settings, gateway, models
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
            self._gateway.listen()
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
            jobs = self._gateway.claim(queue, size, self._settings.lease_s, poll_s)
            poll_s = 0  # one wait a turn
            if jobs:
                self._in_flight.add(jobs)
                self._gateway.observer.claimed(self._lane(queue), jobs, time.monotonic() - began)
                self._last = len(jobs)
                if self._listens and len(jobs) >= size:
                    self._gateway.set_idle(False)
                self._work(jobs)
                self._pause_s = FIRST_PAUSE_S
                return True
        return False

    def _order(self) -> list[str]:
        if time.monotonic() >= self._lanes_until:
            self._lanes = [lane for lane in self._gateway.lanes() if not self._queues or lane[0] in self._queues]
            self._lanes_until = time.monotonic() + LANES_EVERY_S
        self._turn += 1
        return queue_order(self._turn - 1, self._lanes)

    def _lane(self, queue: str) -> str:
        return "fresh" if any(queue == fresh for fresh, _ in self._lanes) else "backfill"

    def _work(self, jobs: Sequence[Job]) -> None:
        for batch in by_pipeline(job for job in jobs if not job.suspect):
            self._prepare(batch)
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
            release_jobs(self._gateway, self._in_flight, [job], Deferred("shutdown", 0.0))
            return
        if not self._gateway.mark_alone(job):
            self._in_flight.remove([job])
            return
        self._gateway.observer.suspected(job)
        get_logger().warning("suspect_alone", pipeline=job.pipeline.name, msg_id=job.msg_id, reads=job.read_ct)
        self._prepare([job])
        while not self._in_flight.wait_for(lambda held: job.key not in held, LOOK_UP_S):
            if self._stopping():
                return

    def _prepare(self, batch: Sequence[Job]) -> None:
        if (work := prepare(self._gateway, self._models, self._in_flight, batch)) is not None:
            self._deliveries.put(work)

    def _sleep(self) -> None:
        """Nothing to do. Ask for a NOTIFY, look once more, then wait for it; or wait inside pgmq."""
        if not self._listens:
            # Nobody can call this statement back: it has to end by itself inside the grace period.
            self.turn(poll_s=max(1, round(min(self._settings.poll_max_s, self._settings.grace_s / 2))))
            return
        self._gateway.set_idle(True)
        if not self.turn() and not self._heard(self._pause_s):
            self._pause_s = min(self._pause_s * 2, self._settings.poll_max_s)

    def _heard(self, pause_s: float) -> bool:
        deadline = time.monotonic() + pause_s
        while not self._stopping() and (left := deadline - time.monotonic()) > 0:
            if self._gateway.hear(min(left, LOOK_UP_S)):
                return True
        return False
