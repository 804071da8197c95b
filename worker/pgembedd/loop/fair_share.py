"""Decides which pipeline is claimed from next, and how much. Pure.

Each pipeline with jobs due gets an equal share of the time that batches take, whatever the length of its texts, and
changes of rows get three quarters of it while a backfill waits. This is start-time fair queueing: what was due for
nothing meanwhile starts level with the others, so no pipeline saves time up. (Goyal, Vin, Cheng, 1996.)
"""

import threading
from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

from pgembedd.database.records import BACKFILL, FRESH, Due

Name = TypeVar("Name", bound=Hashable)

CLAIM_S = 0.25  # the time that a claim is to take: a fresh write waits behind one claim, and one is in the model
FIRST_SIZE, SMALLEST, LARGEST = 4, 2, 256
FIRST_GUESS_S = CLAIM_S / FIRST_SIZE  # for a job of a pipeline that had none yet
WEIGHTS = {FRESH: 3.0, BACKFILL: 1.0}


class _Shares(Generic[Name]):
    """The time used by each name, from the same start."""

    def __init__(self) -> None:
        self._used: dict[Name, float] = {}
        self._level = 0.0

    def next(self, due: Collection[Name]) -> Name:
        """Returns the one of `due` that has used least; the first of equals."""
        self._used = {name: max(self._used.get(name, self._level), self._level) for name in due} | {
            name: used for name, used in self._used.items() if used > self._level and name not in due
        }
        chosen = min(due, key=self._used.__getitem__)
        self._level = self._used[chosen]
        return chosen

    def add(self, name: Name, seconds: float) -> None:
        self._used[name] = self._used.get(name, self._level) + seconds


class FairShare:
    """Shares the time of one worker. One thread claims, another one reports the time that was taken."""

    def __init__(self, fixed_size: int = 0) -> None:
        """`fixed_size` is a constant claim size; 0 fits the size to the time that a job of the pipeline takes."""
        self._fixed_size = fixed_size
        self._queues: _Shares[str] = _Shares()
        # By queue: in one line with the changes, the pipelines of a backfill would all be level again at each turn.
        self._pipelines: dict[str, _Shares[Due]] = {queue: _Shares() for queue in WEIGHTS}
        self._sizes: dict[int, int] = {}
        self._job_s: dict[int, float] = {}
        self._lock = threading.Lock()

    def next(self, due: Sequence[Due]) -> Due:
        """Returns which of `due`, at least one, is claimed from next."""
        queues = {each.queue for each in due}
        with self._lock:
            queue = self._queues.next([name for name in WEIGHTS if name in queues])
            return self._pipelines[queue].next([each for each in due if each.queue == queue])

    def size(self, due: Due) -> int:
        """Returns the number of jobs to claim, at least 1."""
        return self._fixed_size or self._sizes.get(due.pipeline_id, FIRST_SIZE)

    def claimed(self, due: Due, jobs: int) -> None:
        """Charges the time that the jobs will take, as far as it is known, so that the next claim is another's."""
        with self._lock:
            self._charge(due, jobs * self._job_s.get(due.pipeline_id, FIRST_GUESS_S))

    def released(self, due: Due, jobs: int, seconds: float) -> None:
        """Charges the difference to the time that was waited in vain, as for a locked table."""
        with self._lock:
            self._charge(due, seconds - jobs * self._job_s.get(due.pipeline_id, FIRST_GUESS_S))

    def stored(self, due: Due, jobs: int, seconds: float) -> None:
        """Charges the difference to the time that the jobs took, and fits the size; it at most doubles per call."""
        each_s = max(seconds / jobs, 1e-6)
        with self._lock:
            self._charge(due, seconds - jobs * self._job_s.get(due.pipeline_id, FIRST_GUESS_S))
            self._job_s[due.pipeline_id] = each_s
        size = min(CLAIM_S / each_s, 2 * self.size(due))
        self._sizes[due.pipeline_id] = round(min(max(SMALLEST, size), LARGEST))

    def _charge(self, due: Due, seconds: float) -> None:
        self._queues.add(due.queue, seconds / WEIGHTS[due.queue])
        self._pipelines[due.queue].add(due, seconds)
