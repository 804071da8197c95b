"""The last stage: waits for what is computed, stores it and acknowledges its jobs."""

import time
from collections.abc import Sequence
from typing import Any

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Computed, Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import bisect
from pgembedd.loop.job_outcomes import JobOutcomes, Settled
from pgembedd.loop.lane import Lane
from pgembedd.loop.task import Batch

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

    def store(self, batch: Batch[Any]) -> None:
        """Stores one batch, in as many parts as its task gives; rows that cannot be stored fail individually."""
        due, task = batch.jobs[0].due, self._lane.task
        computed_s, waited_from = 0.0, time.monotonic()
        try:
            for part in task.results(batch, self._pipelines):
                computed_s += time.monotonic() - waited_from
                self._store_part(batch, part, time.monotonic() - waited_from)
                waited_from = time.monotonic()
        except (Deferred, psycopg.Error) as error:
            self._lane.share.released(due, len(batch.jobs), self._took(batch))
            if not isinstance(error, Deferred):
                raise
            self._outcomes.end(batch.jobs, error)
            return
        took = self._took(batch)
        self._lane.share.stored(due, len(batch.jobs), took, max(0.0, took - computed_s))

    def _store_part(
        self, batch: Batch[Any], part: Sequence[tuple[Job, Computed | RowFailure | Deferred]], waited_s: float
    ) -> None:
        """Stores what was computed after a wait of so many seconds, and ends the other jobs."""
        results: list[Computed] = []
        for job, result in part:
            if isinstance(result, RowFailure | Deferred):
                self._outcomes.end([job], result)
            else:
                results.append(result)
        if not results:
            return
        began, task, first = time.monotonic(), self._lane.task, batch.jobs[0]
        self._lane.observer.computed(task.name, results, began - batch.since)
        settled = self._write(results)
        store_s = time.monotonic() - began
        if first.allowed_s is not None and any(isinstance(outcome, str) for _, outcome in settled):
            self._pipelines.end_turn(first.pipeline)
        counts = self._outcomes.stored(settled, store_s)
        get_logger().info(
            "stored",
            pipeline=first.pipeline.name,
            queue=first.queue,
            store_s=round(store_s, 3),
            **{f"{task.name}_s": round(waited_s, 3)},
            **counts,
        )

    def _took(self, batch: Batch[Any]) -> float:
        """Returns the seconds that the batch had the worker: from where the one before it ended."""
        since, self._last_end = max(batch.began, self._last_end), time.monotonic()
        return self._last_end - since

    def _write(self, results: Sequence[Computed]) -> Settled:
        """Stores what it can and fails the rest; returns the outcome of each result."""
        settled = [
            (result, REFUSED if stored == "refused" else stored)
            for result, stored in bisect(results, lambda part: self._lane.task.store(part, self._jobs))
        ]
        for result, outcome in settled:
            if isinstance(outcome, RowFailure):
                self._outcomes.end([result.job], outcome)
        return settled
