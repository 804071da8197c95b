"""Claims jobs that were posted to this process, by their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import job_of
from pgembedd.database.records import Job

JobName = tuple[str, int]
"""Queue and msg_id."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted job after the claim, `state` claimed, done, failed or skipped, with its `reason` in a sentence.

    `number` is its place among those that were posted, from 0; `subject` the pipeline that a webhook is for.
    """

    number: int | None
    state: str
    reason: str | None
    name: JobName | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The posted jobs, and those of them that were claimed."""

    posted: Sequence[Posted]
    jobs: Sequence[Job]


@dataclass(frozen=True)
class PushedJobRepository:
    """Claims posted jobs, given as JSON text: parsed, a key could become another number."""

    connection: Connection

    def claim_pushed(self, jobs: str, lease_s: int) -> Claimed:
        """Claims the jobs of process_embeddings(), or of the guide's."""
        return self._claimed("claim_pushed", jobs, lease_s)

    def claim_changed(self, change: str, lease_s: int | None) -> Claimed:
        """Claims the rows of a database webhook; nothing is posted when their table has no pipeline.

        Without a lease they are only queued.
        """
        return self._claimed("claim_changed", change, lease_s)

    def _claimed(self, name: str, posted: str, lease_s: int | None) -> Claimed:
        # As for statements on users' tables: the caller handles a lock that is not granted soon.
        rows = self.connection.rows_once(name, {"posted": posted, "lease_s": lease_s})
        posted_jobs = [_posted(*row[:6]) for row in rows if row[6] is None]
        return Claimed(posted_jobs, [job_of(row[4], row[5:]) for row in rows if row[6] is not None])


def _posted(subject: str | None, n: int | None, state: str, reason: str | None, queue: str | None, msg: Any) -> Posted:
    name = None if queue is None or msg is None else (queue, msg)
    return Posted(None if n is None else n - 1, state, reason, name, subject)
