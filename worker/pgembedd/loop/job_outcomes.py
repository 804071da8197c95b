"""What becomes of jobs that were not stored: a recorded failure, or back into the queue."""

from collections.abc import Sequence

from pgembedd.database.records import Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.gateway import Gateway
from pgembedd.loop.in_flight import InFlight


def fail_job(gateway: Gateway, in_flight: InFlight, job: Job, failure: RowFailure) -> None:
    """Record a failed attempt. The detail may hold content, so it goes to the database and not to the log."""
    outcome, attempts, retry_in_s = gateway.fail(job, failure)
    in_flight.remove([job])
    gateway.observer.failed(job, failure, outcome)
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


def release_jobs(gateway: Gateway, in_flight: InFlight, jobs: Sequence[Job], not_now: Deferred) -> None:
    """Give jobs back without an attempt."""
    held = in_flight.held(jobs)
    gateway.release(held, not_now.delay_s)
    in_flight.remove(held)
    gateway.observer.released(held)
    get_logger().info("released", jobs=len(held), delay_s=not_now.delay_s, why=not_now.why)
