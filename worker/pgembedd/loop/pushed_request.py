"""A request that pushes jobs to this process: what of it is claimed, and the outcomes it is answered with."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgembedd.database.pushed_jobs import Posted, PushedJobRepository
from pgembedd.database.records import Job
from pgembedd.errors import DatabaseUnavailableError, PgembeddError
from pgembedd.loop.deadline import Deadline
from pgembedd.loop.in_flight import Key

Claim = Callable[[PushedJobRepository], list[Posted]]
"""Claims a part of the jobs of a request."""


class BusyError(PgembeddError):
    """Too many requests are in progress; the sender has to repeat this one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job: a word, and a sentence if it is not done.

    The word is that of a store, or attempt_failed, dead_letter, failed, queued, done, skipped.
    """

    word: str
    sentence: str | None = None

    @property
    def done(self) -> bool:
        """Tells that nothing is left to do for the job."""
        return self.word in DONE


DONE = frozenset({"written", "unchanged", "cleared", "gone", "done", "skipped"})
LOST = Outcome("queued", "Another request or worker has claimed it.")
RELEASED = Outcome("queued", "It could not be processed now and waits in the queue; the log says why.")
UNFINISHED = Outcome("queued", "It was not finished in time and waits in the queue.")
_STORED = {
    "changed": Outcome("queued", "Its row changed meanwhile; it waits in the queue."),
    "rewritten": Outcome("queued", "Writing the vector changed its content; it waits in the queue."),
    "locked": Outcome("queued", "Its row is locked; it waits in the queue."),
    "lost": LOST,
}


def stored_outcome(word: str) -> Outcome:
    """Returns the outcome for a word of a store."""
    return _STORED.get(word, Outcome(word))


def failed_outcome(reason: str, outcome: str) -> Outcome:
    """Returns the outcome of a failed attempt, by its reason alone: the detail may hold content."""
    if outcome == "lost":
        return LOST
    if outcome == "dead":
        return Outcome("dead_letter", f"It failed for good ({reason}): see pgembedd.dead_letters.")
    return Outcome("attempt_failed", f"It failed ({reason}); it waits for its next attempt.")


class PushedRequest:
    """One request: the parts that are still to be claimed, the jobs in progress and their outcomes.

    It is read and changed under the lock of PushedJobs.
    """

    def __init__(self, parts: Iterable[Claim], deadline: Deadline) -> None:
        """The worker claims `parts` one by one, until `deadline`."""
        self.posted: list[Posted] = []
        self.parts, self.deadline = deque(parts), deadline
        self.is_claiming = False
        self._error: Exception | None = None
        self._outcomes: dict[Key, Outcome | None] = {}

    def has_part(self) -> bool:
        """Tells that a part can be claimed: one is left, and the time is not up."""
        return bool(self.parts) and not self.deadline.is_set()

    def add(self, posted: Sequence[Posted]) -> None:
        """Takes the result of the claim of a part."""
        self.parts.popleft()
        self.is_claiming = False
        self.posted += posted
        self._outcomes.update({each.job.key: None for each in posted if each.job is not None})

    def fail(self, error: Exception) -> None:
        """Ends the request, as far as it is not claimed, with the error of a claim."""
        self._error, self.is_claiming = error, False
        self.parts.clear()

    def report(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of one of the jobs."""
        self._outcomes[job.key] = outcome

    def is_settled(self) -> bool:
        """Tells that nothing is being claimed, and every job has an outcome."""
        return not self.is_claiming and None not in self._outcomes.values()

    def unfinished(self) -> list[Job]:
        """Returns the jobs without an outcome."""
        jobs = {each.job.key: each.job for each in self.posted if each.job is not None}
        return [job for key, job in jobs.items() if self._outcomes[key] is None]

    def results(self) -> list[tuple[Posted, Outcome]]:
        """Returns each posted job with its outcome. Raises why nothing was claimed."""
        if not self.posted and self._error is not None:
            raise self._error
        if not self.posted and self.is_claiming:
            raise DatabaseUnavailableError("The database did not answer in time.")
        if not self.posted and self.parts:
            raise BusyError("Other jobs are being worked; these stay in the queue. Send them again later.")
        return [(posted, self._outcome(posted)) for posted in self.posted]

    def _outcome(self, posted: Posted) -> Outcome:
        if posted.job is None:
            return Outcome(posted.state, posted.reason)
        return self._outcomes[posted.job.key] or UNFINISHED
