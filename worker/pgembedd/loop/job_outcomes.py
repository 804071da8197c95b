"""Records the outcome of jobs that were not stored: a failed attempt, or a release into the queue."""

from collections.abc import Sequence

from pgembedd.database.jobs import JobRepository
from pgembedd.database.records import Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.in_flight import InFlight
from pgembedd.telemetry.observer import SILENT, Observer


class JobOutcomes:
    """Fails and releases the jobs that are in flight, over one connection."""

    def __init__(self, jobs: JobRepository, in_flight: InFlight, observer: Observer = SILENT) -> None:
        """Failed and released jobs are removed from `in_flight`."""
        self._jobs, self._in_flight, self._observer = jobs, in_flight, observer

    def fail(self, job: Job, failure: RowFailure) -> None:
        """Records a failed attempt. The detail may hold content, so it goes to the database and not to the log."""
        outcome, attempts, retry_in_s = self._jobs.fail(job, failure)
        self._in_flight.remove([job])
        self._observer.failed(job, failure, outcome)
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
        self._jobs.release(held, deferred.delay_s)
        self._in_flight.remove(held)
        self._observer.released(held)
        get_logger().info("released", jobs=len(held), delay_s=deferred.delay_s, why=deferred.why)
