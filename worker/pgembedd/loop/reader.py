"""Reads the rows of claimed jobs, chunks them, and passes the texts to the model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import LANES, Content, Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.loop.bisect import bisect
from pgembedd.loop.chunk_rows import chunk_row
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.pinning import PinnedModels
from pgembedd.model.embedder import EmbeddingsFuture, start
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


class Reader:
    """Turns claimed jobs into batches for the model, over one connection."""

    def __init__(
        self, connection: Connection, models: PinnedModels, outcomes: JobOutcomes, observer: Observer = SILENT
    ) -> None:
        """`outcomes` uses the same connection."""
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self.models, self._outcomes, self._observer = models, outcomes, observer

    def read(self, batch: Sequence[Job]) -> EmbeddingBatch | None:
        """Reads jobs of one pipeline and starts the model on their texts; None when no job is left.

        Jobs whose rows cannot be read or chunked are failed or released.
        """
        began = time.monotonic()
        try:
            model = self.models.serving(batch[0].pipeline, self._pipelines)
            readable: list[tuple[Job, Content]] = []
            for job, content in bisect(batch, self._jobs.read):
                try:
                    if isinstance(content, RowFailure):
                        raise content
                    readable.append((job, chunk_row(job, content, model)))
                except RowFailure as failure:
                    self._outcomes.fail(job, failure)
        except Deferred as deferred:
            self._outcomes.release(batch, deferred)
            return None
        if not readable:
            return None
        jobs, contents = zip(*readable, strict=True)
        self._observer.read(jobs, time.monotonic() - began)
        texts = [text for content in contents for text in content.texts]
        pending = start(model, texts, LANES[batch[0].queue]) if texts else None
        return EmbeddingBatch(jobs, contents, pending, began)
