"""The tasks of a worker: how the stages of a lane read them, compute, and store the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.served_pipelines import ServedPipelines

SHUTDOWN = Deferred("shutdown", 0.0)
EMBED = "embed"
"""The name of the task of most pipelines."""
Row = TypeVar("Row")
"""What was read of a row."""
Made = TypeVar("Made")
"""What is stored of it."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[Row]):
    """Jobs of one pipeline, what was read of their rows, and what computes their results.

    `since` is when that began, `began` when their rows began to be read, by the monotonic clock.
    """

    jobs: Sequence[Job]
    contents: Sequence[Row]
    pending: Any
    began: float = field(default_factory=monotonic)
    since: float = field(default_factory=monotonic)


class Endings(Protocol):
    """Ends jobs that are not computed."""

    def end(self, jobs: Sequence[Job], outcome: Deferred | RowFailure) -> None:
        """Releases jobs without an attempt, or records a failed attempt of each."""


class RowReader(Protocol[Row]):
    """Reads rows for one thread, and starts to compute."""

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Job, Row | RowFailure | Deferred]]:
        """Returns what was read of each job's row, or why that cannot be computed. Deferred for all of them."""

    def start(self, rows: Sequence[tuple[Job, Row]], began: float) -> Batch[Row]:
        """Starts to compute what was read last."""


class Task(Protocol[Row, Made]):
    """A way to make something of rows."""

    name: str
    """As `create_pipeline(task => ...)` has it."""

    @property
    def served(self) -> ServedPipelines:
        """The pipelines of this task."""

    def reader(self, connection: Connection, share: FairShare, outcomes: Endings) -> RowReader[Row]:
        """Returns what reads rows over a connection, for a lane of that share; some jobs it may end itself."""

    def results(
        self, batch: Batch[Row], pipelines: PipelineRepository
    ) -> Iterator[list[tuple[Job, Made | RowFailure | Deferred]]]:
        """Yields the results of jobs that are computed, in as many parts as are stored each by itself. Deferred."""

    def store(self, results: Sequence[Made], statements: JobRepository) -> list[str]:
        """Writes and acknowledges; an outcome for each. RowFailure if the table refuses, Deferred if busy."""
