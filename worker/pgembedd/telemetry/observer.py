"""What a worker tells of itself while it works: the seam to metrics and traces, of which the core knows nothing.

Every method is called once a batch, from the thread that did it, and must neither wait nor raise. None gets content:
what Results and failures hold of it is for nobody to keep.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgembedd.database.records import Job, Result
    from pgembedd.errors import RowFailure


@dataclass(frozen=True, slots=True)
class InferenceStats:
    """One run of a model: so many texts, the tokens in them, and those of padding that it computed as well."""

    model: str
    kind: str
    texts: int
    tokens: int
    padding: int
    seconds: float


class Observer:
    """Hears of everything, and does nothing about it: what one overrides is what one cares for."""

    def claimed(self, lane: str, jobs: "Sequence[Job]", seconds: float) -> None:
        """Jobs of one queue are ours now; `lane` is fresh or backfill."""

    def read(self, jobs: "Sequence[Job]", seconds: float) -> None:
        """The contents of one pipeline's rows are here and cut, those of failed ones left out."""

    def embedded(self, results: "Sequence[Result]", seconds: float) -> None:
        """The vectors of one pipeline's rows are here, so long after their texts were handed over."""

    def stored(
        self, settled: "Sequence[tuple[Result, str | RowFailure]]", outcomes: Mapping[str, int], seconds: float
    ) -> None:
        """A store is done: what became of each job, and how many of each outcome."""

    def failed(self, job: "Job", failure: "RowFailure", outcome: str) -> None:
        """An attempt is recorded; `outcome` is retry, dead or lost."""

    def released(self, jobs: "Sequence[Job]") -> None:
        """Given back without an attempt."""

    def suspected(self, job: "Job") -> None:
        """Workers may have died of it; it is worked alone from here."""

    def extended(self, held: int, lost: int) -> None:
        """The heartbeat has extended the leases of `held` jobs; `lost` ones are somebody else's."""

    def connection(self, purpose: str, up: bool) -> None:
        """A connection of ours was made, or found broken."""

    def loaded(self, model: str, fingerprint: str) -> None:
        """A model is ready."""

    def ran(self, run: InferenceStats) -> None:
        """A model has computed."""

    def request_began(self) -> None:
        """An HTTP request came."""

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:
        """It is answered; `route` is the template of its path, or one word for all unknown ones."""

    def close(self) -> None:
        """The process ends; whatever is still to be sent goes now."""


SILENT = Observer()


class ObserverGroup(Observer):
    """Tells each of its `parts`."""

    def __init__(self, parts: Sequence[Observer]) -> None:
        self.parts = tuple(parts)


def _told(name: str) -> Callable[..., None]:
    def tell(several: ObserverGroup, *values: Any, **named: Any) -> None:
        for part in several.parts:
            getattr(part, name)(*values, **named)

    return tell


for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(ObserverGroup, _name, _told(_name))
