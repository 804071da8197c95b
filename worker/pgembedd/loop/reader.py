"""Reads the rows of claimed jobs, chunks them, and passes the texts to the model."""

import time
from collections.abc import Sequence

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Content, Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.loop.bisect import bisect
from pgembedd.loop.chunk_rows import chunk_row
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.lane import EmbeddingBatch, Lane
from pgembedd.loop.provider_batches import ProviderBatches
from pgembedd.model.embedder import Embedder


class Reader:
    """Turns claimed jobs into batches for the model, over one connection."""

    def __init__(self, lane: Lane, connection: Connection, outcomes: JobOutcomes) -> None:
        """`outcomes` uses the same connection."""
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self._lane, self._outcomes = lane, outcomes
        self._batches = ProviderBatches(lane, connection, outcomes)

    def read(self, batch: Sequence[Job]) -> EmbeddingBatch | None:
        """Reads jobs of one pipeline and starts the model on their texts; None when no job is left.

        Jobs whose rows cannot be read or chunked are failed or released, as those that wait for a provider's batch.
        """
        began = time.monotonic()
        try:
            model = self._lane.models.serving(batch[0].pipeline, self._pipelines)
            jobs, given = self._batches.admit(batch, model)
            readable = self._batches.submit(self._readable(jobs, model) if jobs else [], model, given)
        except Deferred as deferred:
            self._outcomes.end(batch, deferred)
            return None
        if not readable:
            return None
        self._lane.observer.read([job for job, _ in readable], time.monotonic() - began)
        return EmbeddingBatch.start(model, readable, given if given.paid else self._lane.cache, began=began)

    def _readable(self, batch: Sequence[Job], model: Embedder) -> list[tuple[Job, Content]]:
        """Returns the jobs whose rows can be read and chunked, and fails the others."""
        readable: list[tuple[Job, Content]] = []
        for job, content in bisect(batch, self._jobs.read):
            try:
                if isinstance(content, RowFailure):
                    raise content
                readable.append((job, chunk_row(job, content, model)))
            except RowFailure as failure:
                self._outcomes.end([job], failure)
        return readable
