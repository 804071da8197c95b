"""The last stage: waits for vectors, stores them and acknowledges their jobs."""

import time
from collections.abc import Iterator
from queue import Queue

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import LANES, Due, Result, Vector
from pgembedd.errors import Deferred, ProviderBusyError, ProviderRefusedError, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import bisect
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.job_outcomes import JobOutcomes, Settled
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.reader import EmbeddingBatch
from pgembedd.model.embedder import start
from pgembedd.telemetry.observer import SILENT, Observer

REFUSED = RowFailure("write", "A BEFORE UPDATE trigger of the table keeps the vector from being written.")


class Storer:
    """Stores batches in a thread of its own until it gets None."""

    def __init__(
        self,
        connection: Connection,
        models: PinnedModels,
        outcomes: JobOutcomes,
        batches: "Queue[EmbeddingBatch | None]",
        share: FairShare,
        observer: Observer = SILENT,
    ) -> None:
        """`outcomes` uses the same connection; `share` gets the time that batches took."""
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self._models, self._outcomes, self._batches = models, outcomes, batches
        self._share, self._observer = share, observer
        self._last_end = 0.0

    def run(self) -> None:
        """Stores every batch of the queue until None."""
        while (batch := self._batches.get()) is not None:
            with self._outcomes.or_left_to_lease(batch.jobs):
                self.store(batch)

    def store(self, batch: EmbeddingBatch) -> None:
        """Stores one batch; rows that cannot be stored fail individually."""
        started = time.monotonic()
        due = Due(batch.jobs[0].pipeline.id, batch.jobs[0].queue)
        try:
            results = self._wait_for_vectors(batch)
            embedded = time.monotonic()
            self._observer.embedded(results, embedded - batch.since)
            settled = self._write(results)
        except (Deferred, psycopg.Error) as error:
            self._share.released(due, len(batch.jobs), self._took(batch))
            if not isinstance(error, Deferred):
                raise
            self._outcomes.release(batch.jobs, error)
            return
        ended = time.monotonic()
        self._share.stored(due, len(batch.jobs), self._took(batch))
        if batch.jobs[0].allowed_s is not None and any(isinstance(outcome, str) for _, outcome in settled):
            self._pipelines.end_turn(batch.jobs[0].pipeline)
        counts = self._outcomes.stored(settled, ended - embedded)
        get_logger().info(
            "stored",
            pipeline=batch.jobs[0].pipeline.name,
            queue=batch.jobs[0].queue,
            embed_s=round(embedded - started, 3),
            store_s=round(ended - embedded, 3),
            **counts,
        )

    def _took(self, batch: EmbeddingBatch) -> float:
        """Returns the seconds that the batch had the worker: from where the one before it ended."""
        since, self._last_end = max(batch.began, self._last_end), time.monotonic()
        return self._last_end - since

    def _write(self, results: list[Result]) -> Settled:
        """Stores what it can and fails the rest; returns the outcome of each result."""
        settled = [
            (result, REFUSED if stored == "refused" else stored) for result, stored in bisect(results, self._jobs.store)
        ]
        for result, outcome in settled:
            if isinstance(outcome, RowFailure):
                self._outcomes.fail(result.job, outcome)
        return settled

    def _wait_for_vectors(self, batch: EmbeddingBatch) -> list[Result]:
        """Returns the results of the batch; if the model fails on it, each job is embedded by itself."""
        try:
            return self._results(batch)
        except Deferred:
            raise
        except Exception as error:  # a model may raise anything; its texts are then tried one by one
            get_logger().warning(
                "model_failed_on_claim",
                pipeline=batch.jobs[0].pipeline.name,
                jobs=len(batch.jobs),
                error=type(error).__name__,
            )
        model = self._models.serving(batch.jobs[0].pipeline, self._pipelines)
        results: list[Result] = []
        for job, content in zip(batch.jobs, batch.contents, strict=True):
            pending = start(model, content.texts, LANES[job.queue]) if content.texts else None
            try:
                results += self._results(EmbeddingBatch([job], [content], pending))
            except Deferred:
                raise
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"
                self._outcomes.fail(job, RowFailure("model", detail))
        return results

    def _results(self, batch: EmbeddingBatch) -> list[Result]:
        """Waits for the model. Deferred where its provider is busy, or refuses every request."""
        try:
            return _results(batch)
        except ProviderBusyError as busy:
            raise Deferred(str(busy), busy.retry_after_s) from busy
        except ProviderRefusedError as refused:
            raise self._models.refused(batch.jobs[0].pipeline, refused, self._pipelines) from refused


def _results(batch: EmbeddingBatch) -> list[Result]:
    """Waits for the model; returns each job with the vectors of its texts, none where it has no text."""
    vectors: Iterator[Vector] = iter(())
    if batch.pending is not None:
        embedded = batch.pending.result()
        parts = zip(embedded.vectors, embedded.tokens.tolist(), embedded.dropped.tolist(), strict=True)
        vectors = (Vector(*part) for part in parts)
    return [
        Result(job, content, [next(vectors) for _ in content.texts])
        for job, content in zip(batch.jobs, batch.contents, strict=True)
    ]
