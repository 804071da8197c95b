"""A lane of a worker: one of the two queues, for one task, with what the stages of its jobs share."""

from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from pgembedd.database.records import FRESH
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.role import Role
from pgembedd.loop.task import EMBED, Batch, Task
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer


@dataclass(frozen=True)
class Lane:
    """The stages of a lane claim, read, compute and store jobs of `queue`.

    Pushed jobs of both queues go through the lane that leads. The jobs `in_flight` are those of the whole worker.
    """

    queue: str
    settings: Settings
    role: Role
    task: Task[Any, Any]
    in_flight: InFlight
    observer: Observer = SILENT
    share: FairShare = field(default_factory=FairShare)
    listens: bool = True
    """False where it has to wait for jobs inside a statement."""
    batches: "Queue[Batch[Any] | None]" = field(default_factory=Queue)
    """From the claimer to the storer, which ends with None."""

    @property
    def embeds(self) -> bool:
        """True where its task is that of most pipelines."""
        return self.task.name == EMBED

    @property
    def leads(self) -> bool:
        """True for the fresh lane of texts, which looks at both queues before it sleeps."""
        return self.embeds and self.queue == FRESH

    @property
    def pushed(self) -> PushedJobs | None:
        """The requests whose jobs it claims."""
        return self.role.pushed if self.leads else None
