"""Jobs that were posted to this worker, and what became of each: what a request is told of its work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembedd.database.pushed_jobs import JobName, Posted
from pgembedd.database.records import Job, by_pipeline
from pgembedd.telemetry.observer import Observer

if TYPE_CHECKING:
    from pgembedd.database.records import Result
    from pgembedd.errors import RowFailure


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
_REQUEUED = {
    "changed": Outcome("queued", "Its row changed meanwhile; it waits in the queue."),
    "rewritten": Outcome("queued", "Writing the vector changed its content; it waits in the queue."),
    "locked": Outcome("queued", "Somebody holds its row; it waits in the queue."),
    "lost": LOST,
}


class OutcomeRecorder(Observer):
    """Notes what becomes of each job."""

    def __init__(self) -> None:
        self.outcomes: dict[JobName, Outcome] = {}

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
                self.note(result.job, _REQUEUED.get(outcome, Outcome(outcome)))

    def failed(self, job: Job, failure: "RowFailure", outcome: str) -> None:
        """An attempt is recorded. The detail may hold content, so that its word must do."""
        then = "it was given up: see pgembedd.failures." if outcome == "dead" else "it waits for its next attempt."
        self.note(job, LOST if outcome == "lost" else Outcome("failed", f"It failed ({failure.reason}); {then}"))

    def released(self, jobs: Sequence[Job]) -> None:
        """Given back without an attempt."""
        for job in jobs:
            self.note(job, RELEASED)


def batches(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """Some jobs at a time, of one queue and one pipeline: a request may bring them mixed, which a claim never does."""
    for queue in dict.fromkeys(job.queue for job in jobs):
        for batch in by_pipeline(job for job in jobs if job.queue == queue):
            yield from (batch[start : start + size] for start in range(0, len(batch), size))


def outcome_of(posted: Posted, recorder: OutcomeRecorder) -> Outcome:
    if posted.state == "claimed" and posted.name is not None:
        return recorder.outcomes.get(posted.name, UNFINISHED)
    return Outcome(posted.state, posted.reason)
