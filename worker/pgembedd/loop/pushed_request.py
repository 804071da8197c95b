"""A request that pushes jobs to this process: what of it is claimed, and the outcomes it is answered with."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgembedd.database.connection import Connection
from pgembedd.database.pushed_jobs import Posted, PushedJobRepository
from pgembedd.database.records import Job
from pgembedd.errors import DatabaseUnavailableError, PgembeddError
from pgembedd.loop.deadline import STOP_CHECK_S, Deadline
from pgembedd.loop.in_flight import Key

GRACE_S = 5.0  # for jobs in the model when the time is up or the service stops; uvicorn waits for ten

Claim = Callable[[PushedJobRepository], list[Posted]]
"""Claims a part of the jobs of a request."""


class BusyError(PgembeddError):
    """Too many requests are in progress; the sender has to repeat this one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job: a word (of a store, or failed, queued, done, skipped), and a sentence if it is not done."""

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
    then = "it was given up: see pgembedd.failures." if outcome == "dead" else "it waits for its next attempt."
    return LOST if outcome == "lost" else Outcome("failed", f"It failed ({reason}); {then}")


class PushedRequest:
    """One request: the parts that are still to be claimed, the jobs in progress and their outcomes."""

    def __init__(self, parts: Iterable[Claim], deadline: Deadline) -> None:
        """The worker claims `parts` one by one, until `deadline`."""
        self.posted: list[Posted] = []
        self._parts, self._deadline = deque(parts), deadline
        self._error: Exception | None = None
        self._claiming = self._closed = False
        self._outcomes: dict[Key, Outcome | None] = {}
        self._changed = threading.Condition()

    def has_part(self) -> bool:
        """Tells that a part can be claimed: one is left, and the time is not up."""
        return bool(self._parts) and not self._deadline.is_set()

    def claim(self, connection: Connection, lease_s: int) -> list[Posted]:
        """Claims the next part; nothing once the request was answered. An error of the claim ends the request."""
        with self._changed:
            if self._closed:
                return []
            self._claiming = True
        try:
            return self._parts[0](PushedJobRepository(connection, lease_s, self._deadline))
        except Exception as error:
            with self._changed:
                self._error, self._claiming = error, False
                self._parts.clear()
                self._changed.notify_all()
            raise

    def add(self, posted: Sequence[Posted]) -> bool:
        """Takes the result of a claim; False once the request was answered."""
        with self._changed:
            if self._closed:
                return False
            self._parts.popleft()
            self._claiming = False
            self.posted += posted
            self._outcomes.update({each.job.key: None for each in posted if each.job is not None})
            self._changed.notify_all()
            return True

    def report(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of one of the jobs."""
        with self._changed:
            self._outcomes[job.key] = outcome
            self._changed.notify_all()

    def wait(self) -> None:
        """Waits until every job has an outcome or the time is up; what is in progress then gets GRACE_S more."""
        with self._changed:
            while (self._parts or not self._settled()) and not self._deadline.is_set():
                self._changed.wait(STOP_CHECK_S)
            self._changed.wait_for(self._settled, GRACE_S)

    def close(self) -> list[Job]:
        """Takes no more jobs; returns those without an outcome."""
        with self._changed:
            self._closed = True
            jobs = {each.job.key: each.job for each in self.posted if each.job is not None}
            return [job for key, job in jobs.items() if self._outcomes[key] is None]

    def results(self) -> list[tuple[Posted, Outcome]]:
        """Returns each posted job with its outcome. Raises why nothing was claimed."""
        if not self.posted and self._error is not None:
            raise self._error
        if not self.posted and self._claiming:
            raise DatabaseUnavailableError("The database did not answer in time.")
        if not self.posted and self._parts:
            raise BusyError("Other jobs are being worked; these stay in the queue. Send them again later.")
        return [(posted, self._outcome(posted)) for posted in self.posted]

    def _outcome(self, posted: Posted) -> Outcome:
        if posted.job is None:
            return Outcome(posted.state, posted.reason)
        return self._outcomes[posted.job.key] or UNFINISHED

    def _settled(self) -> bool:
        return not self._claiming and None not in self._outcomes.values()
