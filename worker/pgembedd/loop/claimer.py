"""The first stage of a lane: claims jobs and has their rows read, one claim ahead of the model."""

import time
from collections.abc import Callable, Sequence
from math import inf

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.jobs import JobRepository
from pgembedd.database.listener import Waker
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import BACKFILL, LANES, Due, Job, by_due
from pgembedd.log import get_logger
from pgembedd.loop.deadline import STOP_CHECK_S
from pgembedd.loop.in_flight import Key
from pgembedd.loop.job_outcomes import JobOutcomes, Lost
from pgembedd.loop.lane import Lane
from pgembedd.loop.lane_watch import Watch
from pgembedd.loop.reader import Reader
from pgembedd.loop.task import SHUTDOWN
from pgembedd.retry_policy import RetryPolicy

FIRST_PAUSE_S = 0.1
ERROR_PAUSE_S = 1.0
LOOK_SHARE = 0.1  # of the time may go into looking for what is due, which takes long with thousands of pipelines


class Claimer:
    """Claims jobs of a lane in its own thread until it is told to stop."""

    def __init__(
        self, lane: Lane, connection: Connection, stopping: Callable[[], bool], waker: Waker, watch: Watch
    ) -> None:
        """Claims over `connection`. `waker` ends its waits, and the lanes of a worker share `watch`."""
        self._lane, self._connection, self._stopping = lane, connection, stopping
        self._settings, self._role = lane.settings, lane.role
        self._served, self._in_flight = lane.task.served, lane.in_flight
        self._jobs, self._waker, self._watch = JobRepository(connection), waker, watch
        self._pipelines, self._outcomes = PipelineRepository(connection), JobOutcomes(lane, connection)
        self._reader = Reader(lane, connection, self._outcomes)
        self._listens = lane.role.pulls and lane.listens
        self._asks_for_notify = self._listens and lane.leads  # a backfill can wait for the poll of its lane
        self._due: list[Due] = []
        self._due_until = 0.0
        self._asked = False  # for a NOTIFY, by the last look
        self._mine: set[Key] = set()  # jobs that it claimed, as far as they are still held
        self._last_claim = 0  # jobs of the last claim
        self._gained = 0
        self._pauses = RetryPolicy(FIRST_PAUSE_S, lane.settings.poll_max_s)
        self._idle = 1  # looks in vain, and the one to come

    def run(self) -> None:
        """Claims until stopped, one claim ahead of the model, by turns from requests and from the queues.

        Waits while nothing is due.
        """
        claims = [self.claim_pushed, self.claim_due]
        while not self._stopping():
            try:
                self._served.look(self._pipelines)
                # At most the last claim is held.
                if self._in_flight.wait_for_room(self._mine, self._last_claim, STOP_CHECK_S):
                    if not any(claim() for claim in claims):
                        self._wait_for_jobs()
                    claims.reverse()
            except psycopg.Error as error:
                if is_connection_error(error):
                    raise
                get_logger().error("claim_failed", error=type(error).__name__, sqlstate=error.sqlstate)
                self._waker.wait(ERROR_PAUSE_S)

    def claim_due(self, poll_s: float = 0.0) -> bool:
        """Claims jobs of one pipeline; False when nothing is due, or all of it is claimed or locked by others."""
        if not self._role.pulls or self._rests:
            return False
        due, share = self._look(poll_s), self._lane.share
        while (chosen := share.next(due)) is not None:
            size = share.size(chosen)
            began = time.monotonic()
            jobs = self._jobs.claim(chosen, size, self._settings.lease_s)
            # Not while it has jobs, which would wait for it without the heartbeat.
            if not jobs and chosen.queue == BACKFILL and self._jobs.continue_backfill(chosen):
                continue
            if len(jobs) < size:
                self._due.remove(chosen)
            if jobs:
                self._in_flight.add(jobs)
                if self._asks_for_notify and not self._role.pipelines and len(jobs) >= size:
                    self._jobs.set_idle(False)  # not for some pipelines alone: others sleep for the others
                self._idle = 1
                self._process(jobs, began)
                return True
        return False

    def _look(self, poll_s: float) -> list[Due]:
        """Returns what is due and can be served, looked up again unless that was a moment ago."""
        began = time.monotonic()
        if not self._due or began >= self._due_until:
            queue, left_out = self._lane.queue, self._lane.share.left_out()
            unserved = [*self._served.unserved(), *left_out]
            names, task = self._role.pipelines, self._lane.task.name
            due = self._jobs.due(queue, names, poll_s, unserved, idle=self._asks_for_notify, task=task)
            self._asked = self._asks_for_notify and not any(each.queue == queue for each in due)
            if self._asked and not left_out:
                self._watch.begin(found=bool(due))
            elif self._asks_for_notify:  # it did not look at all that is the backfill lane's
                self._watch.end()
            if not all(self._served.serves(each.pipeline_id) for each in due):
                self._served.look(self._pipelines, now=True)
            self._due = [each for each in due if queue == each.queue and self._served.serves(each.pipeline_id)]
            ended = time.monotonic()
            self._due_until = ended + (ended - began) / LOOK_SHARE if poll_s == 0.0 else ended
        return self._due

    def claim_pushed(self) -> bool:
        """Claims jobs of a request that pushed some; False when no request waits."""
        if self._lane.pushed is None:
            return False
        began = time.monotonic()
        jobs = self._lane.pushed.claim(self._connection, self._settings.lease_s)
        if jobs:
            self._process(jobs, began)
        return jobs is not None

    def _process(self, jobs: Sequence[Job], began: float) -> None:
        """Passes jobs that are in flight on to be computed; suspects one by one, after all others."""
        self._last_claim = len(jobs)
        if self._asks_for_notify:
            self._watch.end()
        self._mine = self._in_flight.held_keys(self._mine) | {job.key for job in jobs}
        for queue, lane in LANES.items():
            if mine := [job for job in jobs if job.queue == queue]:
                self._lane.observer.claimed(lane, mine, time.monotonic() - began)
        suspects = [job for job in jobs if job.suspect]
        for batch in [*by_due(job for job in jobs if not job.suspect), *([job] for job in suspects)]:
            start = self._in_flight.start_alone if batch[0].suspect else self._in_flight.start
            with self._outcomes.or_left_to_lease(batch):
                if not start(batch, self._stopping):
                    self._outcomes.end(batch, SHUTDOWN)
                elif batch[0].suspect:
                    self._process_suspect(batch[0])
                else:
                    self._read_batch(batch)

    def _process_suspect(self, job: Job) -> None:
        """Processes a job that may have killed workers, and waits for its end: no other is in progress here."""
        if not self._jobs.mark_alone(job):
            self._outcomes.end([job], Lost())
            return
        self._lane.observer.suspected(job)
        get_logger().warning("suspect_alone", pipeline=job.pipeline.name, msg_id=job.msg_id, reads=job.read_ct)
        self._read_batch([job])
        while not self._in_flight.wait_for(lambda held: job.key not in held, STOP_CHECK_S):
            if self._stopping():
                return

    def _read_batch(self, batch: Sequence[Job]) -> None:
        due, began, share = batch[0].due, time.monotonic(), self._lane.share
        share.claimed(due, len(batch))
        embedding = None
        try:
            embedding = self._reader.read(batch)
        finally:
            if embedding is None:
                share.released(due, len(batch), time.monotonic() - began)
        if embedding is not None:
            self._lane.batches.put(embedding)

    @property
    def _rests(self) -> bool:
        """True where it has a task of its own and no pipeline of that: it waits until there is one."""
        return not (self._lane.embeds or self._served.serves_any())

    def _wait_for_jobs(self) -> None:
        """Waits until there may be jobs: for a NOTIFY or the next poll; without LISTEN it waits inside the database."""
        if self._role.pulls and not self._listens and self._lane.pushed is None and not self._rests:
            # This statement cannot be cancelled: it has to end by itself inside the grace period.
            if not self.claim_due(max(1.0, min(self._settings.poll_max_s, self._settings.grace_s / 2))):
                self._waker.wait(FIRST_PAUSE_S)  # what is due may be locked for long: then nothing was waited for
            return
        if self._asks_for_notify and not self._asked:  # what is due is claimed or locked by others
            self._jobs.set_idle(True)
            if self.claim_due():
                return
        if not self._rest():
            self._idle += 1

    def _rest(self) -> bool:
        """Waits until it is woken, or more can be served; False where the pause is over."""
        watched = self._listens and not self._asks_for_notify and self._watch.watches
        left_s = inf if watched or self._rests or not self._role.pulls else self._pauses.delay_s(self._idle)
        ends_at = time.monotonic() + left_s
        while left_s > 0:
            if self._more_is_served() or self._waker.wait(min(left_s, self._served.look_in_s())):
                return True
            left_s = ends_at - time.monotonic()
        return False

    def _more_is_served(self) -> bool:
        """Returns True when pipelines can be served that could not be at its last call."""
        self._served.look(self._pipelines)
        before, self._gained = self._gained, self._served.gained
        return self._gained != before
