"""The jobs that a worker holds: the heartbeat extends their leases, a shutdown releases them, suspects go alone."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence, Set

from pgembedd.database.records import Job
from pgembedd.loop.deadline import STOP_CHECK_S

Key = tuple[str, int, int]


class InFlight:
    """The claimed jobs that have no outcome yet. Used by all threads."""

    def __init__(self) -> None:
        self._jobs: dict[Key, tuple[Job, float]] = {}
        self._started: set[Key] = set()
        self._suspects: dict[Key, None] = {}  # in the order of their turns
        self._changed = threading.Condition()

    def add(self, jobs: Iterable[Job]) -> None:
        """Adds claimed jobs."""
        with self._changed:
            now = time.monotonic()
            self._jobs.update({job.key: (job, now) for job in jobs})

    def remove(self, jobs: Iterable[Job]) -> None:
        """Removes jobs that have an outcome; one that is not held is passed over."""
        with self._changed:
            for key in [job.key for job in jobs]:
                self._jobs.pop(key, None)
                self._started.discard(key)
                self._suspects.pop(key, None)
            self._changed.notify_all()

    def start(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> bool:
        """Waits until no suspect wants to be alone, and marks the jobs as in progress; False if it stops first."""
        with self._changed:
            if ready := self._wait_unless(stopping, lambda: not self._suspects):
                self._started.update(job.key for job in jobs if job.key in self._jobs)
            return ready

    def start_alone(self, jobs: Sequence[Job], stopping: Callable[[], bool]) -> bool:
        """Waits until no job is in progress, and keeps others from it until this one is removed; False when stopping.

        Jobs that have not started stay held. Suspects of several threads take turns.
        """
        (job,) = jobs
        with self._changed:
            if job.key in self._jobs:
                self._suspects[job.key] = None
            ready = self._wait_unless(
                stopping,
                lambda: job.key not in self._jobs or (not self._started and next(iter(self._suspects)) == job.key),
            )
            return ready and not stopping()

    def _wait_unless(self, stopping: Callable[[], bool], condition: Callable[[], bool]) -> bool:
        while not self._changed.wait_for(condition, STOP_CHECK_S):
            if stopping():
                return False
        return True

    def jobs(self) -> list[Job]:
        """Returns all jobs held."""
        with self._changed:
            return [job for job, _ in self._jobs.values()]

    def held_keys(self, keys: Set[Key]) -> set[Key]:
        """Returns the keys of jobs that are still held."""
        with self._changed:
            return {*keys & self._jobs.keys()}

    def held(self, jobs: Iterable[Job]) -> list[Job]:
        """Returns those of `jobs` that are still held."""
        with self._changed:
            return [job for job in jobs if job.key in self._jobs]

    def oldest_s(self) -> float:
        """Returns the age of the oldest job in seconds; 0 without jobs."""
        with self._changed:
            now = time.monotonic()
            return now - min((since for _, since in self._jobs.values()), default=now)

    def __len__(self) -> int:
        return len(self._jobs)

    def wait_for_room(self, mine: Set[Key], most: int, timeout_s: float) -> bool:
        """Waits until at most `most` of `mine` are held and no suspect wants to be alone; False after the timeout."""
        return self.wait_for(lambda held: len(mine & held) <= most and not self._suspects, timeout_s)

    def wait_for(self, condition: Callable[[Set[Key]], bool], timeout_s: float) -> bool:
        """Waits until `condition` is true of the keys held; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._jobs.keys()), timeout_s)
