"""Claims and releases jobs that were posted to this process, by their names."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import job_of
from pgembedd.database.limit import OwnerTimeoutError
from pgembedd.database.queries import query
from pgembedd.database.records import Job


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted job after the claim: `state` is claimed, with the job, or done, failed, skipped or queued.

    `reason` is a sentence; `subject` the pipeline that a webhook is for.
    """

    subject: str | None
    state: str
    reason: str | None
    job: Job | None


@dataclass(frozen=True)
class PushedJobRepository:
    """Claims posted jobs, given as JSON text: parsed, a key could become another number."""

    connection: Connection
    lease_s: int
    until: threading.Event
    """Ends the wait for an unreachable database, and repetitions."""

    def claim_pushed(self, jobs: str) -> list[Posted]:
        """Claims the jobs of process_embeddings(); one result for each, in their order."""
        return self._claim("claim_pushed", jobs)

    def claim_changed(self, change: str) -> list[Posted]:
        """Claims the rows of a database webhook; nothing is returned when their table has no pipeline."""
        return self._claim("claim_changed", change)

    def _claim(self, name: str, posted: str) -> list[Posted]:
        # As for statements on users' tables: the caller handles a lock that is not granted soon.
        try:
            rows = self.connection.rows_once(name, {"posted": posted, "lease_s": self.lease_s}, self.until)
        except OwnerTimeoutError as error:
            if name == "claim_changed":  # the keys go through the types of the table's owner
                self.connection.value("note_slow_change", posted=posted, timeout_s=error.allowed_s)
            raise
        return [_posted(*row) for row in rows]


def queue_changed(connection: psycopg.Connection, change: str) -> list[Posted]:
    """Queues the rows of a database webhook, and claims none."""
    return [_posted(*row) for row in connection.execute(query("queue_changed"), {"posted": change})]


def release_pushed(connection: psycopg.Connection, jobs: str, delay_s: float) -> None:
    """Puts those of the posted jobs back that their sender still holds, due after `delay_s` seconds."""
    connection.execute(query("release_pushed"), {"posted": jobs, "delay_s": delay_s})


def _posted(subject: str | None, state: str, reason: str | None, *job: object) -> Posted:
    claimed: Sequence[object] | None = job if state == "claimed" else None
    return Posted(subject, state, reason, None if claimed is None else job_of(claimed))
