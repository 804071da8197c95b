"""Extends the leases of the jobs in flight."""

import threading

import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.jobs import JobRepository
from pgembedd.database.schema_check import SchemaWait
from pgembedd.log import get_logger
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import Observer


def extend_leases(
    settings: Settings,
    jobs: JobRepository,
    in_flight: InFlight,
    finished: threading.Event,
    observer: Observer,
    schema: SchemaWait,
) -> None:
    """Extends the lease of everything in flight three times a lease, until `finished`.

    While this worker cannot store because the schema is another one, its jobs are left to other workers.
    """
    lost: set[Key] = set()
    while not finished.wait(settings.lease_s / 3):
        held = in_flight.jobs()
        if not held or schema.stops_jobs():
            continue
        # Missed once, a job may have been stored this moment. Missed twice, another worker has claimed it, and
        # whatever is still done for it here has no effect: every write is fenced.
        try:
            missed = {job.key for job in in_flight.held(jobs.extend(held, settings.lease_s))}
        except psycopg.Error as error:
            if is_connection_error(error):
                raise
            get_logger().error("leases_not_extended", jobs=len(held), sqlstate=error.sqlstate)
            continue
        twice = lost & missed
        if twice:
            get_logger().warning("lease_lost", jobs=len(twice))
        observer.extended(len(held) - len(missed), len(twice))
        lost = missed
