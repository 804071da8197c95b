"""Says that the worker lives, and extends the leases of the jobs in flight."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from math import ceil

from pgembedd.database.connection_errors import log_errors
from pgembedd.database.jobs import JobRepository
from pgembedd.database.schema_check import SchemaWait
from pgembedd.log import get_logger
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import Observer

BEAT_S = 5.0  # a worker that has not beaten for 15 s does not answer (sql/40_jobs/heartbeat.sql)


def extend_leases(
    settings: Settings,
    jobs: JobRepository,
    in_flight: InFlight,
    wait: Callable[[float], bool],
    observer: Observer,
    schema: SchemaWait,
    beat: Callable[[], None],
) -> None:
    """Calls `beat` every few seconds, and extends the leases of all in flight three times a lease.

    `wait` waits so many seconds, less where a beat is wanted at once; True at the end, which is the last beat.

    While this worker cannot store because the schema is another one, its jobs are left to other workers.
    """
    lost: set[Key] = set()
    beats = ceil(settings.lease_s / 3 / BEAT_S)
    with _logged(in_flight):
        beat()
    for beaten in count(1):
        ended = wait(settings.lease_s / 3 / beats)
        if not ended and beaten % beats == 0 and in_flight and not schema.stops_jobs():
            with _logged(in_flight):
                lost = _extend(jobs, in_flight, settings.lease_s, lost, observer)
        with _logged(in_flight):
            beat()
        if ended:
            return


def _logged(in_flight: InFlight) -> AbstractContextManager[None]:
    return log_errors("leases_not_extended", jobs=len(in_flight))


def _extend(jobs: JobRepository, in_flight: InFlight, lease_s: int, lost: set[Key], observer: Observer) -> set[Key]:
    """Extends the leases; returns the jobs that were missed.

    Missed once, a job may have been stored this moment. Missed twice, as it is in `lost`, another worker has claimed
    it, and whatever is still done for it here has no effect: every write is fenced.
    """
    held = in_flight.jobs()
    missed = {job.key for job in in_flight.held(jobs.extend(held, lease_s))}
    twice = lost & missed
    if twice:
        get_logger().warning("lease_lost", jobs=len(twice))
    observer.extended(len(held) - len(missed), len(twice))
    return missed
