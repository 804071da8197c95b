"""The heartbeat keeps what a worker holds; the upkeep runs the sweep and retention where pg_cron does not."""

import threading

import psycopg

from pgembedd.database.connect import is_connection_error
from pgembedd.log import get_logger
from pgembedd.loop.gateway import Gateway
from pgembedd.loop.in_flight import InFlight, Key
from pgembedd.settings import Settings


def extend_leases(settings: Settings, gateway: Gateway, in_flight: InFlight, finished: threading.Event) -> None:
    """Extend the lease of everything in flight three times a lease, until `finished`."""
    lost: set[Key] = set()
    while not finished.wait(settings.lease_s / 3):
        jobs = in_flight.jobs()
        if not jobs:
            continue
        # Once may mean that it was stored this moment. Twice, that it is somebody else's now, and that whatever
        # is still done for it here does nothing: every write is fenced.
        missed = {job.key for job in in_flight.held(gateway.extend(jobs, settings.lease_s))}
        twice = lost & missed
        if twice:
            get_logger().warning("lease_lost", jobs=len(twice))
        gateway.observer.extended(len(jobs) - len(missed), len(twice))
        lost = missed


def run_maintenance(settings: Settings, gateway: Gateway, stopping: threading.Event) -> None:
    """Call the upkeep until `stopping`; the database decides whether it is due."""
    while not stopping.is_set():
        try:
            swept = gateway.tick(settings.sweep_every_s)
        except psycopg.Error as error:
            if is_connection_error(error):
                return
            get_logger().error("upkeep_failed", error=type(error).__name__, sqlstate=error.sqlstate)
        else:
            if swept:
                get_logger().info("swept", queued=swept)
        stopping.wait(min(settings.sweep_every_s, 5.0))
