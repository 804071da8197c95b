"""The interface between the loop and its metrics and traces: one method per kind of event.

Every method is called once a batch, from the thread that did it, and must neither wait nor raise. No observer keeps
the content that results and failures hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgembedd.database.records import Job, Result
    from pgembedd.errors import RowFailure


@dataclass(frozen=True, slots=True)
class InferenceStats:
    """One run of a model: its texts, their tokens, and the padding tokens computed beside them."""

    model: str
    kind: str
    texts: int
    tokens: int
    padding: int
    seconds: float


class Observer:
    """Ignores every event; a subclass overrides the methods of the events that it needs."""

    def claimed(self, lane: str, jobs: "Sequence[Job]", seconds: float) -> None:
        """Jobs of one queue were claimed; `lane` is fresh or backfill."""

    def read(self, jobs: "Sequence[Job]", seconds: float) -> None:
        """The rows of jobs of one pipeline were read and chunked; failed jobs are left out."""

    def embedded(self, results: "Sequence[Result]", seconds: float) -> None:
        """The vectors of one pipeline's rows are ready, `seconds` after their texts were passed to the model."""

    def stored(
        self, settled: "Sequence[tuple[Result, str | RowFailure]]", outcomes: Mapping[str, int], seconds: float
    ) -> None:
        """A store ended: the outcome of each job, and the number of jobs per outcome."""

    def failed(self, job: "Job", failure: "RowFailure", outcome: str) -> None:
        """A failed attempt was recorded; `outcome` is retry, dead or lost."""

    def released(self, jobs: "Sequence[Job]") -> None:
        """Jobs were released without an attempt."""

    def suspected(self, job: "Job") -> None:
        """A job that may have killed workers is about to be processed alone."""

    def extended(self, held: int, lost: int) -> None:
        """The heartbeat extended the leases of `held` jobs; `lost` leases have expired."""

    def connection(self, purpose: str, up: bool) -> None:
        """A connection was opened (`up`) or lost."""

    def loaded(self, model: str, fingerprint: str) -> None:
        """A model was loaded."""

    def model_ran(self, run: InferenceStats) -> None:
        """A model computed one batch."""

    def request_began(self) -> None:
        """An HTTP request arrived."""

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:
        """A response was sent; `route` is the template of the path, or one word for all unknown paths."""

    def close(self) -> None:
        """Sends what is buffered; called as the process ends."""


SILENT = Observer()


class ObserverGroup(Observer):
    """Calls each of its `parts`."""

    def __init__(self, parts: Sequence[Observer]) -> None:
        self.parts = tuple(parts)

    def claimed(self, lane: str, jobs: "Sequence[Job]", seconds: float) -> None:
        for part in self.parts:
            part.claimed(lane, jobs, seconds)

    def read(self, jobs: "Sequence[Job]", seconds: float) -> None:
        for part in self.parts:
            part.read(jobs, seconds)

    def embedded(self, results: "Sequence[Result]", seconds: float) -> None:
        for part in self.parts:
            part.embedded(results, seconds)

    def stored(
        self, settled: "Sequence[tuple[Result, str | RowFailure]]", outcomes: Mapping[str, int], seconds: float
    ) -> None:
        for part in self.parts:
            part.stored(settled, outcomes, seconds)

    def failed(self, job: "Job", failure: "RowFailure", outcome: str) -> None:
        for part in self.parts:
            part.failed(job, failure, outcome)

    def released(self, jobs: "Sequence[Job]") -> None:
        for part in self.parts:
            part.released(jobs)

    def suspected(self, job: "Job") -> None:
        for part in self.parts:
            part.suspected(job)

    def extended(self, held: int, lost: int) -> None:
        for part in self.parts:
            part.extended(held, lost)

    def connection(self, purpose: str, up: bool) -> None:
        for part in self.parts:
            part.connection(purpose, up)

    def loaded(self, model: str, fingerprint: str) -> None:
        for part in self.parts:
            part.loaded(model, fingerprint)

    def model_ran(self, run: InferenceStats) -> None:
        for part in self.parts:
            part.model_ran(run)

    def request_began(self) -> None:
        for part in self.parts:
            part.request_began()

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:
        for part in self.parts:
            part.request_ended(method, route, status, seconds, traceparent)

    def close(self) -> None:
        for part in self.parts:
            part.close()
