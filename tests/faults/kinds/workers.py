"""Workers that are killed or stopped."""

from __future__ import annotations

import time

import psycopg

from tests.faults.fault import Fault
from tests.faults.scene import WORKERS, Scene, stopped
from tests.support.sql import LANES, rows
from tests.support.waiting import eventually


class Kill(Fault):
    """One worker after another, in the midst of its work, and another in its place."""

    name = "SIGKILL of a worker"
    hits = (4, 60)
    weight = 12

    def hit(self, scene: Scene, number: int) -> None:
        index = number % len(scene.workers)
        scene.workers[index].await_event("worker_started")
        scene.await_held()
        time.sleep(scene.random.uniform(0, 0.15))  # anywhere in its work: this is the point, not a wait
        scene.kill_and_replace(index)


class KillAll(Fault):
    """All workers at once, so that what they held waits for the lease. Counted are the workers."""

    name = "SIGKILL of all workers at once"
    hits = (1, 6)
    weight = 3

    def strike(self, scene: Scene, hits: int) -> int:
        return super().strike(scene, hits) * WORKERS

    def hit(self, scene: Scene, number: int) -> None:
        scene.start_workers()
        scene.await_held()
        scene.end_workers()
        scene.writers.await_commits(5)

    def heal(self, scene: Scene) -> None:
        scene.start_workers()


class StopPastLease(Fault):
    """A worker sleeps until others have had its jobs, and goes on with what it still holds."""

    name = "SIGSTOP of a worker past its lease"
    hits = (1, 4)

    def hit(self, scene: Scene, number: int) -> None:
        with scene.admin() as connection:
            scene.await_held(connection)
            with stopped(scene.random.choice(scene.workers)):
                held = _read_messages(connection)
                eventually(lambda: not held & _read_messages(connection))
        scene.writers.await_commits(5)


def _read_messages(connection: psycopg.Connection) -> set[tuple[str, int, int]]:
    """Messages that were read: lane, id and how often. A second read is another claim."""
    return {
        (lane, msg_id, read_ct)
        for lane in LANES
        for msg_id, read_ct in rows(connection, f"select msg_id, read_ct from pgmq.q_{lane} where read_ct > 0")
    }
