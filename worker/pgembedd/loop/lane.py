"""A lane of a worker: one of the two queues, or both for a task of its own, with what the stages of its jobs share."""

from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from pgembedd.database.records import FRESH
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.role import Role
from pgembedd.loop.task import Batch, Task
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer


@dataclass(frozen=True)
class Lane:
    """The stages of a lane claim, read, compute and store jobs of `queue`, or of both queues where that is None.

    Pushed jobs of both go through the fresh one. The jobs `in_flight` are those of the whole worker.
    """

    queue: str | None
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
    def pushed(self) -> PushedJobs | None:
        """The requests whose jobs it claims."""
        return self.role.pushed if self.queue == FRESH else None
