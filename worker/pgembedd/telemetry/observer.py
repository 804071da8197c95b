"""The interface between the loop and its metrics and traces: one method per kind of event.

Every method is called once a batch, from the thread that did it, and must neither wait nor raise. No observer keeps
the content that results and failures hold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembedd.database.records import Computed, Job
    from pgembedd.errors import RowFailure


@dataclass(frozen=True, slots=True)
class InferenceStats:
    """One run of a model: its texts, their tokens, and the padding tokens computed next to them."""

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

    def computed(self, task: str, results: "Sequence[Computed]", seconds: float) -> None:
        """The results of a task, of rows of one pipeline, are ready `seconds` after it was begun."""

    def stored(
        self, settled: "Sequence[tuple[Computed, str | RowFailure]]", outcomes: Mapping[str, int], seconds: float
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

    def recalled(self, model: str, texts: int, tokens: int) -> None:
        """Vectors of so many texts, of so many tokens, were held from before, and not computed again."""

    def request_began(self) -> None:
        """An HTTP request arrived."""

    def truncated(self, model: str, texts: int) -> None:
        """Texts of a request were longer than the model reads, and were cut."""

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:
        """A response was sent; `route` is the template of the path, or one word for all unknown paths."""

    def close(self) -> None:
        """Sends what is buffered; called as the process ends."""


SILENT = Observer()


class ObserverGroup(Observer):
    """Passes each event on to its `parts`."""

    def __init__(self, parts: Sequence[Observer]) -> None:
        self.parts = tuple(parts)


def _passed_on(event: str) -> Callable[..., None]:
    def pass_on(group: ObserverGroup, *arguments: Any, **named: Any) -> None:
        for part in group.parts:
            getattr(part, event)(*arguments, **named)

    return pass_on


for _event in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(ObserverGroup, _event, _passed_on(_event))
