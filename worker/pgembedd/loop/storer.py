"""The last stage: waits for vectors, stores them and acknowledges their jobs."""

import time
from collections.abc import Iterator, Sequence

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Content, Job, Result, Vector
from pgembedd.errors import Deferred, ProviderBusyError, ProviderRefusedError, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import bisect
from pgembedd.loop.job_outcomes import JobOutcomes, Settled
from pgembedd.loop.lane import EmbeddingBatch, Lane

REFUSED = RowFailure("write", "A BEFORE UPDATE trigger of the table keeps the vector from being written.")


class Storer:
    """Stores the batches of a lane in its own thread."""

    def __init__(self, lane: Lane, connection: Connection) -> None:
        self._jobs, self._pipelines = JobRepository(connection), PipelineRepository(connection)
        self._lane, self._outcomes, self._last_end = lane, JobOutcomes(lane, connection), 0.0

    def run(self) -> None:
        """Stores every batch until None."""
        while (batch := self._lane.batches.get()) is not None:
            with self._outcomes.or_left_to_lease(batch.jobs):
                self.store(batch)

    def store(self, batch: EmbeddingBatch) -> None:
        """Stores one batch; rows that cannot be stored fail individually."""
        started = time.monotonic()
        due = batch.jobs[0].due
        try:
            results = self._wait_for_vectors(batch)
            embedded = time.monotonic()
            self._lane.observer.embedded(results, embedded - batch.since)
            settled = self._write(results)
        except (Deferred, psycopg.Error) as error:
            self._lane.share.released(due, len(batch.jobs), self._took(batch))
            if not isinstance(error, Deferred):
                raise
            self._outcomes.end(batch.jobs, error)
            return
        ended = time.monotonic()
        took = self._took(batch)
        self._lane.share.stored(due, len(batch.jobs), took, max(0.0, took - (embedded - started)))
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
                self._outcomes.end([result.job], outcome)
        return settled

    def _wait_for_vectors(self, batch: EmbeddingBatch) -> list[Result]:
        """Returns the results of the batch. Where the model fails on it, bad rows fail individually."""

        def embed(rows: Sequence[tuple[Job, Content]]) -> list[Result]:
            if is_first := len(rows) == len(batch.jobs):
                part = batch
            else:
                model = self._lane.models.serving(pipeline, self._pipelines)
                part = EmbeddingBatch.start(model, rows, self._lane.cache)
            try:
                return self._results(part)
            except Deferred:
                raise
            except Exception as error:  # a model may raise anything
                name = type(error).__name__
                if is_first:
                    get_logger().warning("model_failed_on_claim", pipeline=pipeline.name, jobs=len(rows), error=name)
                raise RowFailure("model", f"{name}: {error}") from error

        pipeline = batch.jobs[0].pipeline
        results: list[Result] = []
        for (job, _), result in bisect(list(zip(batch.jobs, batch.contents, strict=True)), embed):
            if isinstance(result, RowFailure):
                self._outcomes.end([job], result)
            else:
                results.append(result)
        return results

    def _results(self, batch: EmbeddingBatch) -> list[Result]:
        """Waits for the model; returns each job with the vectors of its texts, none where it has no text.

        Deferred where the model's provider is busy, or refuses every request.
        """
        vectors: Iterator[Vector] = iter(())
        try:
            if batch.pending is not None:
                embedded = batch.pending.result()
                parts = zip(embedded.vectors, embedded.tokens.tolist(), embedded.dropped.tolist(), strict=True)
                vectors = (Vector(*part) for part in parts)
        except ProviderBusyError as busy:
            raise Deferred(str(busy), busy.retry_after_s) from busy
        except ProviderRefusedError as refused:
            raise self._lane.models.refused(batch.jobs[0].pipeline, refused, self._pipelines) from refused
        return [
            Result(job, content, [next(vectors) for _ in content.texts])
            for job, content in zip(batch.jobs, batch.contents, strict=True)
        ]
