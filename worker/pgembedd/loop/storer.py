"""The last stage: waits for vectors, stores them and acknowledges their jobs."""

import time
from collections import Counter
from collections.abc import Iterator
from queue import Queue

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Result, Vector
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import bisect
from pgembedd.loop.claim_size import ClaimSizer
from pgembedd.loop.in_flight import InFlight
from pgembedd.loop.job_outcomes import JobOutcomes
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
        in_flight: InFlight,
        batches: "Queue[EmbeddingBatch | None]",
        sizer: ClaimSizer | None = None,
        observer: Observer = SILENT,
    ) -> None:
        """`sizer` gets the time that jobs were held."""
        self._jobs, self._in_flight, self._batches = JobRepository(connection), in_flight, batches
        self._models, self._pipelines = models, PipelineRepository(connection)
        self._outcomes, self._observer = JobOutcomes(self._jobs, in_flight, observer), observer
        self._sizer = sizer or ClaimSizer()

    def run(self) -> None:
        """Stores every batch of the queue until None."""
        while (batch := self._batches.get()) is not None:
            self.store(batch)

    def store(self, batch: EmbeddingBatch) -> None:
        """Stores one batch; rows that cannot be stored fail individually."""
        started = time.monotonic()
        try:
            results = self._wait_for_vectors(batch)
            waited = time.monotonic()
            self._observer.embedded(results, waited - batch.since)
            settled, outcomes = self._write(results)
        except Deferred as deferred:
            self._outcomes.release(batch.jobs, deferred)
            return
        self._sizer.note(*self._in_flight.remove(batch.jobs))
        self._observer.stored(settled, outcomes, time.monotonic() - waited)
        get_logger().info(
            "stored",
            pipeline=batch.jobs[0].pipeline.name,
            queue=batch.jobs[0].queue,
            embed_s=round(waited - started, 3),
            store_s=round(time.monotonic() - waited, 3),
            **outcomes,
        )

    def _write(self, results: list[Result]) -> tuple[list[tuple[Result, str | RowFailure]], dict[str, int]]:
        """Stores what it can and fails the rest; returns the outcome of each result and the count per outcome."""
        outcomes: Counter[str] = Counter()
        settled = [
            (result, REFUSED if stored == "refused" else stored) for result, stored in bisect(results, self._jobs.store)
        ]
        for result, outcome in settled:
            if isinstance(outcome, RowFailure):
                self._outcomes.fail(result.job, outcome)
                outcomes["failed"] += 1
            else:
                outcomes[outcome] += 1
        return settled, dict(outcomes)

    def _wait_for_vectors(self, batch: EmbeddingBatch) -> list[Result]:
        """Returns the results of the batch; if the model fails on it, each job is embedded by itself."""
        try:
            return _results(batch)
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
            pending = start(model, content.texts) if content.texts else None
            try:
                results += _results(EmbeddingBatch([job], [content], pending))
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"
                self._outcomes.fail(job, RowFailure("model", detail))
        return results


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
