"""A lane of a worker: one of the two queues, with all that the stages of its jobs share."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Queue

from pgembedd.database.records import FRESH, LANES, Content, Job
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.pushed_jobs import PushedJobs
from pgembedd.loop.role import Role
from pgembedd.model.embedder import Embedder, EmbeddingsFuture
from pgembedd.model.vector_cache import VectorCache
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """Jobs of one pipeline whose texts are in the model: `pending` yields a vector for each text of the contents.

    `since` is when they were passed to the model, `began` when their rows began to be read, by the monotonic clock.
    """

    jobs: Sequence[Job]
    contents: Sequence[Content]
    pending: EmbeddingsFuture | None
    began: float = field(default_factory=time.monotonic)
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls, model: Embedder, rows: Sequence[tuple[Job, Content]], cache: VectorCache, **times: float
    ) -> "EmbeddingBatch":
        """Passes the texts of rows to the model, but for those whose vectors the cache holds."""
        jobs, contents = zip(*rows, strict=True)
        texts = [text for content in contents for text in content.texts]
        keys = cache.keys(jobs[0].pipeline.source, model, texts, "document")
        pending = cache.start(model, texts, keys, LANES[jobs[0].queue]) if texts else None
        return cls(jobs, contents, pending, **times)


@dataclass(frozen=True)
class Lane:
    """The stages of a lane claim, read, embed and store jobs of `queue`; pushed jobs of both go through the fresh one.

    Models, their cache, and the jobs `in_flight`, are those of the whole worker.
    """

    queue: str
    settings: Settings
    role: Role
    models: PinnedModels
    in_flight: InFlight
    observer: Observer = SILENT
    share: FairShare = field(default_factory=FairShare)
    cache: VectorCache = field(default_factory=VectorCache)
    listens: bool = True
    """False where it has to wait for jobs inside a statement."""
    batches: "Queue[EmbeddingBatch | None]" = field(default_factory=Queue)
    """From the claimer to the storer, which ends with None."""

    @property
    def pushed(self) -> PushedJobs | None:
        """The requests whose jobs it claims."""
        return self.role.pushed if self.queue == FRESH else None
