"""The outcomes of posted jobs, as a request returns them."""

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
_REQUEUED = {
    "changed": Outcome("queued", "Its row changed meanwhile; it waits in the queue."),
    "rewritten": Outcome("queued", "Writing the vector changed its content; it waits in the queue."),
    "locked": Outcome("queued", "Its row is locked; it waits in the queue."),
    "lost": LOST,
}


class OutcomeRecorder(Observer):
    """Records the outcome of each job."""

    def __init__(self) -> None:
        self.outcomes: dict[JobName, Outcome] = {}

    def note(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of one job."""
        self.outcomes[job.queue, job.msg_id] = outcome

    def stored(
        self,
        settled: "Sequence[tuple[Result, str | RowFailure]]",
        outcomes: Mapping[str, int],  # noqa: ARG002
        seconds: float,  # noqa: ARG002
    ) -> None:
        """Records the outcomes of a store; failed jobs are recorded by `failed`."""
        for result, outcome in settled:
            if isinstance(outcome, str):
                self.note(result.job, _REQUEUED.get(outcome, Outcome(outcome)))

    def failed(self, job: Job, failure: "RowFailure", outcome: str) -> None:
        """Records a failed attempt by its reason alone, because the detail may hold content."""
        then = "it was given up: see pgembedd.failures." if outcome == "dead" else "it waits for its next attempt."
        self.note(job, LOST if outcome == "lost" else Outcome("failed", f"It failed ({failure.reason}); {then}"))

    def released(self, jobs: Sequence[Job]) -> None:
        """Records jobs that were released without an attempt."""
        for job in jobs:
            self.note(job, RELEASED)


def batches(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """Yields batches of one queue and one pipeline each; a request may mix them, a claim does not."""
    for queue in dict.fromkeys(job.queue for job in jobs):
        for batch in by_pipeline(job for job in jobs if job.queue == queue):
            yield from (batch[start : start + size] for start in range(0, len(batch), size))


def outcome_of(posted: Posted, recorder: OutcomeRecorder) -> Outcome:
    if posted.state == "claimed" and posted.name is not None:
        return recorder.outcomes.get(posted.name, UNFINISHED)
    return Outcome(posted.state, posted.reason)
