"""Jobs that were posted to this worker, and what became of each: what a request is told of its work."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembedd.database.records import Job
from pgembedd.loop.gateway import Gateway, job_of
from pgembedd.telemetry.observer import Observer

if TYPE_CHECKING:
    from pgembedd.database.records import Result
    from pgembedd.errors import RowFailure

Name = tuple[str, int]
"""Queue and msg_id."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted job after the claim, `state` claimed, done, failed or skipped, with its `reason` in a sentence.

    `number` is its place among those that were posted, from 0; `subject` the pipeline that a webhook is for.
    """

    number: int | None
    state: str
    reason: str | None
    name: Name | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was posted, and the jobs that are ours now."""

    posted: Sequence[Posted]
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a word (of a store, or failed, queued, done, skipped), and a sentence if it is not done."""

    word: str
    sentence: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.word in DONE


DONE = frozenset({"written", "unchanged", "cleared", "gone", "done", "skipped"})
LOST = Outcome("queued", "Another request or worker has claimed it.")
RELEASED = Outcome("queued", "It could not be worked now and waits in the queue; the log says why.")
UNFINISHED = Outcome("queued", "It was not finished in time and waits in the queue.")
_AGAIN = {
    "changed": Outcome("queued", "Its row changed meanwhile; it waits in the queue."),
    "rewritten": Outcome("queued", "Writing the vector changed its content; it waits in the queue."),
    "locked": Outcome("queued", "Somebody holds its row; it waits in the queue."),
    "lost": LOST,
}


class OutcomeRecorder(Observer):
    """Notes what becomes of each job."""

    def __init__(self) -> None:
        self.outcomes: dict[Name, Outcome] = {}

    def note(self, job: Job, outcome: Outcome) -> None:
        """This became of it."""
        self.outcomes[job.queue, job.msg_id] = outcome

    def stored(
        self,
        settled: "Sequence[tuple[Result, str | RowFailure]]",
        outcomes: Mapping[str, int],  # noqa: ARG002
        seconds: float,  # noqa: ARG002
    ) -> None:
        """A store is done; those that failed have been told of."""
        for result, outcome in settled:
            if isinstance(outcome, str):
                self.note(result.job, _AGAIN.get(outcome, Outcome(outcome)))

    def failed(self, job: Job, failure: "RowFailure", outcome: str) -> None:
        """An attempt is recorded. The detail may hold content, so that its word must do."""
        then = "it was given up: see pgembedd.failures." if outcome == "dead" else "it waits for its next attempt."
        self.note(job, LOST if outcome == "lost" else Outcome("failed", f"It failed ({failure.reason}); {then}"))

    def released(self, jobs: Sequence[Job]) -> None:
        """Given back without an attempt."""
        for job in jobs:
            self.note(job, RELEASED)


class PushGateway(Gateway):
    """A gateway that claims what was posted, as JSON text: parsed, a key would come back as another number."""

    def lend(self, until: threading.Event, observer: Observer) -> None:
        """For somebody else's work from now on."""
        self._stopping, self.observer = until, observer

    def claim_pushed(self, jobs: str, lease_s: int) -> Claimed:
        """The jobs of process_embeddings(), or of the guide's."""
        return self._claimed("claim_pushed", jobs, lease_s)

    def claim_changed(self, change: str, lease_s: int | None) -> Claimed:
        """The rows that a database webhook tells of; nothing posted when their table has no pipeline.

        Without a lease they are queued and left to others.
        """
        return self._claimed("claim_changed", change, lease_s)

    def _claimed(self, name: str, posted: str, lease_s: int | None) -> Claimed:
        # As for statements that meet users' tables: a lock that is not to be had soon is the caller's to judge.
        rows = self._once(name, {"posted": posted, "lease_s": lease_s})
        told = [_posted(*row[:6]) for row in rows if row[6] is None]
        return Claimed(told, [job_of(row[4], row[5:]) for row in rows if row[6] is not None])


def _posted(subject: str | None, n: int | None, state: str, reason: str | None, queue: str | None, msg: Any) -> Posted:
    name = None if queue is None or msg is None else (queue, msg)
    return Posted(None if n is None else n - 1, state, reason, name, subject)
