"""Records the outcome of jobs: a store, a failed attempt, or a release into the queue."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Job, Result
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.pushed_request import LOST, RELEASED, Outcome, failed_outcome, stored_outcome
from pgembedd.telemetry.observer import SILENT, Observer

Settled = Sequence[tuple[Result, str | RowFailure]]
"""Results with the words of their store; those that failed were passed to `fail`."""


class JobOutcomes:
    """Ends the jobs in flight, over one connection; a request that pushed one of them learns of it."""

    def __init__(
        self,
        jobs: JobRepository,
        in_flight: InFlight,
        pushed: PushedJobs | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """Jobs with an outcome are removed from `in_flight`."""
        self._jobs, self._in_flight, self._pushed, self._observer = jobs, in_flight, pushed, observer

    def stored(self, settled: Settled, seconds: float) -> dict[str, int]:
        """Takes the outcomes of a store that took `seconds`; returns the count of each."""
        outcomes = Counter("failed" if isinstance(outcome, RowFailure) else outcome for _, outcome in settled)
        self._in_flight.remove([result.job for result, _ in settled])
        self._observer.stored(settled, outcomes, seconds)
        for result, outcome in settled:
            if isinstance(outcome, str):
                self._report(result.job, stored_outcome(outcome))
        return dict(outcomes)

    def fail(self, job: Job, failure: RowFailure) -> None:
        """Records a failed attempt. The detail may hold content, so it goes to the database and not to the log."""
        try:
            outcome, attempts, retry_in_s = self._jobs.fail(job, failure)
        except psycopg.Error as error:  # the lease expires, and the job is tried again
            if is_connection_error(error):
                raise
            get_logger().error("failure_not_recorded", msg_id=job.msg_id, sqlstate=error.sqlstate)
            outcome, attempts, retry_in_s = "retry", job.attempt, None
        if job.allowed_s is not None and not failure.slow:
            PipelineRepository(self._jobs.connection).end_turn(job.pipeline)
        self._in_flight.remove([job])
        self._observer.failed(job, failure, outcome)
        self._report(job, failed_outcome(failure.reason, outcome))
        log = get_logger().error if outcome == "dead" else get_logger().warning
        log(
            "dead_letter" if outcome == "dead" else "job_failed",
            pipeline=job.pipeline.name,
            msg_id=job.msg_id,
            reason=failure.reason,
            attempts=attempts,
            retry_in_s=None if retry_in_s is None else round(retry_in_s, 1),
            see="pgembedd.failures",
        )

    def release(self, jobs: Sequence[Job], deferred: Deferred) -> None:
        """Returns jobs to the queue without an attempt."""
        held = self._in_flight.held(jobs)
        blocker = self._jobs.blocker(held[0].pipeline) if deferred.locked and held else None
        self._jobs.release(held, deferred.delay_s, deferred.why if deferred.delay_s else None)
        self._in_flight.remove(held)
        self._observer.released(held)
        for job in held:
            self._report(job, RELEASED)
        names = sorted({job.pipeline.name for job in held})
        get_logger().info(
            "released",
            pipeline=", ".join(names),
            jobs=len(held),
            delay_s=deferred.delay_s,
            why=deferred.why,
            **({} if blocker is None else asdict(blocker)),
        )

    @contextmanager
    def or_left_to_lease(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Leaves `jobs` to their leases if the block raises an error of the database, unless the connection is lost."""
        try:
            yield
        except psycopg.Error as error:
            if is_connection_error(error):
                raise
            left = self._in_flight.held(jobs)
            name = type(error).__name__
            get_logger().error("left_to_lease", jobs=len(left), error=name, sqlstate=error.sqlstate)
            for job in left:
                self.lose(job)

    def lose(self, job: Job) -> None:
        """Drops a job whose lease has expired or will: another worker has it, or any may."""
        self._in_flight.remove([job])
        self._report(job, LOST)

    def _report(self, job: Job, outcome: Outcome) -> None:
        if self._pushed is not None:
            self._pushed.report(job, outcome)
