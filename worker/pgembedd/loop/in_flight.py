"""The jobs that a worker holds: the heartbeat extends their leases, a shutdown releases them."""

import threading
import time
from collections.abc import Callable, Collection, Iterable

from pgembedd.database.records import Job

Key = tuple[str, int, int]


class InFlight:
    """The claimed jobs that have no outcome yet. Used by all threads."""

    def __init__(self) -> None:
        self._jobs: dict[Key, tuple[Job, float]] = {}
        self._changed = threading.Condition()

    def add(self, jobs: Iterable[Job]) -> None:
        """Adds claimed jobs."""
        with self._changed:
            self._jobs.update({job.key: (job, time.monotonic()) for job in jobs})

    def remove(self, jobs: Iterable[Job]) -> None:
        """Removes jobs that have an outcome; one that is not held is passed over."""
        with self._changed:
            for job in jobs:
                self._jobs.pop(job.key, None)
            self._changed.notify_all()

    def jobs(self) -> list[Job]:
        """Returns all jobs held."""
        with self._changed:
            return [job for job, _ in self._jobs.values()]

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

    def wait_for(self, condition: Callable[[Collection[Key]], bool], timeout_s: float) -> bool:
        """Waits until `condition` is true of the keys held; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._jobs.keys()), timeout_s)
