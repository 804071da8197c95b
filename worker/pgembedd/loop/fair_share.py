"""Decides which pipeline is claimed from next, and how much.

Each pipeline with jobs due gets an equal share of the time that batches take, whatever the length of its texts. This is
start-time fair queueing: what was due for nothing meanwhile starts level with the others, so no pipeline saves time up.
(Goyal, Vin, Cheng, 1996.)

One whose claims wait in vain, as for a locked table, holds up all others of its lane, idle ones, too. It is left out
for a while that grows, and then has one claim at a time, until one is stored.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence

from pgembedd.database.records import Due
from pgembedd.retry_policy import RetryPolicy

# The time that a claim is to take: a row waits behind one claim of its lane, and one is in the model. In a backfill no
# one waits for a row, and of many texts more have the same length and share a run of the model.
CLAIM_S, BACKFILL_CLAIM_S = 0.25, 1.0
FIRST_SIZE, SMALLEST, LARGEST = 4, 2, 256
# Statements for up to so many rows are taken to cost the same. If their time were that of the rows, claims would shrink
# where commits are slow, the database would have more of them, and they would take longer still.
STATEMENT_ROWS = 64
FIRST_GUESS_S = CLAIM_S / FIRST_SIZE  # for a job of a pipeline that had none yet
# A wait in vain of LONG_S or longer has the pipeline left out for as long, then twice as long each time, up to
# MOST_TIMES as long or LONGEST_OUT_S, and for no less than OUT_TIMES as long as it took, or OUT_S.
LONG_S = 1.0
OUT_TIMES, OUT_S = 10, 30.0
MOST_TIMES, LONGEST_OUT_S = 32, 600.0


class FairShare:
    """Shares the time of one lane of a worker. One thread claims, another one reports the time that was taken."""

    def __init__(
        self, fixed_size: int = 0, clock: Callable[[], float] = time.monotonic, *, claim_s: float = CLAIM_S
    ) -> None:
        """`fixed_size` is a constant claim size; 0 has a claim take `claim_s`, by the time of the pipeline's jobs.

        `clock` gives seconds.
        """
        self._fixed_size, self._clock, self.claim_s = fixed_size, clock, claim_s
        self._used_s: dict[Due, float] = {}
        self._level_s = 0.0
        self._sizes: dict[Due, int] = {}
        self._job_s: dict[Due, float] = {}
        self._in_vain: dict[Due, int] = {}  # waits in succession
        self._out_until: dict[Due, float] = {}
        self._sent: set[Due] = set()
        self._lock = threading.Lock()

    def next(self, due: Sequence[Due]) -> Due | None:
        """Returns which of `due` is claimed from next: what has used least, the first of equals.

        None where all of them are left out.
        """
        with self._lock:
            due = [each for each in due if not self._is_left_out(each)]
            if not due:
                return None
            ahead = {each: used for each, used in self._used_s.items() if used > self._level_s and each not in due}
            self._used_s = {each: max(self._used_s.get(each, 0.0), self._level_s) for each in due} | ahead
            chosen = min(due, key=self._used_s.__getitem__)
            self._level_s = self._used_s[chosen]
            return chosen

    def left_out(self) -> list[int]:
        """Returns the ids of the pipelines that are left out at this moment."""
        with self._lock:
            return [each.pipeline_id for each in self._out_until if self._is_left_out(each)]

    def size(self, due: Due) -> int:
        """Returns the number of jobs to claim, at least 1."""
        return self._fixed_size or self._sizes.get(due, FIRST_SIZE)

    def ask_for(self, due: Due, size: int) -> None:
        """Has the next claim be of so many jobs, whatever time they take."""
        self._sizes[due] = size

    def sent(self, due: Due) -> None:
        """Has the next release be no wait in vain: the texts of its jobs were sent as a batch."""
        self._sent.add(due)

    def claimed(self, due: Due, jobs: int) -> None:
        """Charges the time that the jobs will take, as far as it is known, so that the next claim is another's."""
        with self._lock:
            self._charge(due, jobs * self._job_s.get(due, FIRST_GUESS_S))
            if due in self._in_vain:
                self._out_until[due] = math.inf

    def released(self, due: Due, jobs: int, seconds: float) -> None:
        """Charges the difference to the time that was waited in vain; after a long wait the pipeline is left out."""
        with self._lock:
            self._charge(due, seconds - jobs * self._job_s.get(due, FIRST_GUESS_S))
            times = self._in_vain.pop(due, 0)
            self._out_until.pop(due, None)
            was_sent = due in self._sent
            self._sent.discard(due)
            if seconds >= LONG_S and not was_sent:
                self._in_vain[due] = times + 1
                delays = RetryPolicy(seconds, min(MOST_TIMES * seconds, LONGEST_OUT_S))
                self._out_until[due] = self._clock() + max(delays.delay_s(times + 1), min(OUT_TIMES * seconds, OUT_S))

    def stored(self, due: Due, jobs: int, seconds: float, statements_s: float = 0.0) -> None:
        """Charges the difference to the time that the jobs took, and fits the size; it at most doubles per call.

        `statements_s` are those of `seconds` in which the model was not waited for.
        """
        each_s = max(seconds / jobs, 1e-6)
        with self._lock:
            self._charge(due, seconds - jobs * self._job_s.get(due, FIRST_GUESS_S))
            self._job_s[due] = each_s
            self._in_vain.pop(due, None)
            self._out_until.pop(due, None)
        each_s -= statements_s / jobs - statements_s / max(jobs, STATEMENT_ROWS)
        size = min(self.claim_s / max(each_s, 1e-6), 2 * self.size(due))
        self._sizes[due] = round(min(max(SMALLEST, size), LARGEST))

    def _is_left_out(self, due: Due) -> bool:
        """True before its time has come. One that is alone, as no other had a store yet, is not left out."""
        return self._clock() < self._out_until.get(due, -math.inf) and any(each != due for each in self._job_s)

    def _charge(self, due: Due, seconds: float) -> None:
        self._used_s[due] = self._used_s.get(due, self._level_s) + seconds
