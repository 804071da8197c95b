"""Decides which pipeline is claimed from next, and how much. Pure.

Each pipeline with jobs due gets an equal share of the time that batches take, whatever the length of its texts. This is
start-time fair queueing: what was due for nothing meanwhile starts level with the others, so no pipeline saves time up.
(Goyal, Vin, Cheng, 1996.)
"""

import threading
from collections.abc import Sequence

from pgembedd.database.records import Due

CLAIM_S = (
    0.25  # the time that a claim is to take: a new row waits behind one claim of its lane, and one is in the model
)
FIRST_SIZE, SMALLEST, LARGEST = 4, 2, 256
FIRST_GUESS_S = CLAIM_S / FIRST_SIZE  # for a job of a pipeline that had none yet
LONG_S, MOST_CHARGED_S = 1.0, 64.0  # a wait in vain that counts double each time in succession, up to so much


class FairShare:
    """Shares the time of one lane of a worker. One thread claims, another one reports the time that was taken."""

    def __init__(self, fixed_size: int = 0) -> None:
        """`fixed_size` is a constant claim size; 0 fits the size to the time that a job of the pipeline takes."""
        self._fixed_size = fixed_size
        self._used_s: dict[Due, float] = {}
        self._level_s = 0.0
        self._sizes: dict[Due, int] = {}
        self._job_s: dict[Due, float] = {}
        self._in_vain: dict[Due, int] = {}
        self._lock = threading.Lock()

    def next(self, due: Sequence[Due]) -> Due:
        """Returns which of `due`, at least one, is claimed from next: what has used least, the first of equals."""
        with self._lock:
            ahead = {each: used for each, used in self._used_s.items() if used > self._level_s and each not in due}
            self._used_s = {each: max(self._used_s.get(each, 0.0), self._level_s) for each in due} | ahead
            chosen = min(due, key=self._used_s.__getitem__)
            self._level_s = self._used_s[chosen]
            return chosen

    def size(self, due: Due) -> int:
        """Returns the number of jobs to claim, at least 1."""
        return self._fixed_size or self._sizes.get(due, FIRST_SIZE)

    def claimed(self, due: Due, jobs: int) -> None:
        """Charges the time that the jobs will take, as far as it is known, so that the next claim is another's."""
        with self._lock:
            self._charge(due, jobs * self._job_s.get(due, FIRST_GUESS_S))

    def released(self, due: Due, jobs: int, seconds: float) -> None:
        """Charges the difference to the time that was waited in vain, as for a locked table.

        A long wait counts double each time in succession, so that others meet fewer and fewer of them; a pipeline that
        is alone is not delayed by it.
        """
        with self._lock:
            times = self._in_vain.get(due, 0)
            self._in_vain[due] = times + 1 if seconds >= LONG_S else 0
            charged_s = max(seconds, min(seconds * 2**times, MOST_CHARGED_S))
            self._charge(due, charged_s - jobs * self._job_s.get(due, FIRST_GUESS_S))

    def stored(self, due: Due, jobs: int, seconds: float) -> None:
        """Charges the difference to the time that the jobs took, and fits the size; it at most doubles per call."""
        each_s = max(seconds / jobs, 1e-6)
        with self._lock:
            self._charge(due, seconds - jobs * self._job_s.get(due, FIRST_GUESS_S))
            self._job_s[due] = each_s
            self._in_vain.pop(due, None)
        size = min(CLAIM_S / each_s, 2 * self.size(due))
        self._sizes[due] = round(min(max(SMALLEST, size), LARGEST))

    def _charge(self, due: Due, seconds: float) -> None:
        self._used_s[due] = self._used_s.get(due, self._level_s) + seconds
