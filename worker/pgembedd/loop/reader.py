"""Reads the rows of claimed jobs, and starts to compute what is made of them."""

import time
from collections.abc import Sequence
from typing import Any

from pgembedd.database.connection import Connection
from pgembedd.database.records import Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.loop.job_outcomes import JobOutcomes
from pgembedd.loop.lane import Lane
from pgembedd.loop.task import Batch


class Reader:
    """Turns claimed jobs into batches, over one connection."""

    def __init__(self, lane: Lane, connection: Connection, outcomes: JobOutcomes) -> None:
        """`outcomes` uses the same connection."""
        self._lane, self._outcomes = lane, outcomes
        self._reader = lane.task.reader(connection, lane.share, outcomes)

    def read(self, batch: Sequence[Job]) -> Batch[Any] | None:
        """Reads jobs of one pipeline and starts to compute; None when no job is left.

        Jobs whose rows cannot be read are failed or released.
        """
        began = time.monotonic()
        try:
            rows = []
            for job, content in self._reader.rows(batch):
                if isinstance(content, RowFailure | Deferred):
                    self._outcomes.end([job], content)
                else:
                    rows.append((job, content))
            if not rows:
                return None
            self._lane.observer.read([job for job, _ in rows], time.monotonic() - began)
            return self._reader.start(rows, began)
        except Deferred as deferred:
            self._outcomes.end(batch, deferred)
            return None
