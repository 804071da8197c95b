"""Ends the claims of jobs: stored, failed, released or lost, in the database and for those who wait for them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import is_connection_error, log_errors
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Computed, FailedAttempt, Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.lane import Lane
from pgembedd.loop.pushed_request import LOST, RELEASED, Outcome, failed_outcome, stored_outcome

Settled = Sequence[tuple[Computed, str | RowFailure]]
"""Results with the words of their store; those that failed have ended already."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The end of a claim whose lease has expired or will: another worker has the job, or any may take it."""


class JobOutcomes:
    """Ends the jobs in flight, over one connection; a request that pushed one of them learns of it."""

    def __init__(self, lane: Lane, connection: Connection) -> None:
        """Jobs that have ended are in flight no more."""
        self._lane, self._in_flight = lane, lane.in_flight
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)

    def stored(self, settled: Settled, seconds: float) -> dict[str, int]:
        """Takes the outcomes of a store that took `seconds`; returns the count of each."""
        outcomes = Counter("failed" if isinstance(outcome, RowFailure) else outcome for _, outcome in settled)
        self._lane.observer.stored(settled, outcomes, seconds)
        self._finish([(result.job, word) for result, word in settled if isinstance(word, str)])
        return dict(outcomes)

    def end(self, jobs: Sequence[Job], outcome: Deferred | RowFailure | Lost) -> None:
        """Releases jobs without an attempt, records a failed attempt of each, or leaves them to other workers."""
        match outcome:
            case Deferred():
                self._release(self._in_flight.held(jobs), outcome)
            case RowFailure():
                for job in jobs:
                    self._fail(job, outcome)
            case Lost():
                self._finish([(job, LOST) for job in jobs])

    def _fail(self, job: Job, failure: RowFailure) -> None:
        """Records a failed attempt. The detail may hold content, so it goes to the database and not to the log."""
        attempt = FailedAttempt("retry", job.attempt)  # where it is not recorded, as the lease expires
        with log_errors("failure_not_recorded", msg_id=job.msg_id):
            attempt = self._jobs.fail(job, failure)
        if job.allowed_s is not None and not failure.slow:
            self._pipelines.end_turn(job.pipeline)
        self._lane.observer.failed(job, failure, attempt.outcome)
        self._finish([(job, failed_outcome(failure.reason, attempt.outcome))])
        is_dead = attempt.outcome == "dead"
        log = get_logger().error if is_dead else get_logger().warning
        log(
            "dead_letter" if is_dead else "job_failed",
            pipeline=job.pipeline.name,
            msg_id=job.msg_id,
            reason=failure.reason,
            attempts=attempt.attempts,
            retry_in_s=None if attempt.retry_in_s is None else round(attempt.retry_in_s, 1),
            see="pgembedd.dead_letters",
        )

    def _release(self, held: Sequence[Job], deferred: Deferred) -> None:
        blocker = self._jobs.blocker(held[0].pipeline) if deferred.locked and held else None
        self._jobs.release(held, deferred.delay_s, deferred.why if deferred.delay_s else None)
        self._lane.observer.released(held)
        self._finish([(job, RELEASED) for job in held])
        get_logger().info(
            "released",
            pipeline=", ".join(sorted({job.pipeline.name for job in held})),
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
            self.end(left, Lost())

    def _finish(self, ended: Sequence[tuple[Job, Outcome | str]]) -> None:
        """Takes an outcome for each job, or the word of a store."""
        self._in_flight.remove(job for job, _ in ended)
        if (pushed := self._lane.role.pushed) is not None:
            for job, outcome in ended:
                pushed.report(job, stored_outcome(outcome) if isinstance(outcome, str) else outcome)
