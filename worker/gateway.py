"""The worker's side of the SQL interface: one method per statement, one connection, one thread at a time.

The database going away is weather: a call waits, reconnects and is made again. Every statement is safe to
repeat, because each is fenced on the claim and does nothing for a job that is no longer ours.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import errors, sql
from psycopg.types.json import Jsonb
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from worker.db import connect, is_weather
from worker.errors import DatabaseUnavailableError, NotNow, RowFailure
from worker.jobs import Content, Job, Pipeline, Result
from worker.log import get_logger
from worker.queries import query

Answer = TypeVar("Answer")

# Two transactions met; the same statement will do in a moment.
_COLLISION = (errors.DeadlockDetected, errors.SerializationFailure)

# Somebody else's lock, or the server's limits, stood in the way: no fault of the row's.
_CONTENTION = (
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.OutOfMemory,
    errors.DiskFull,
)
CONTENTION_DELAY_S = 1.0


class Gateway:
    """A connection that comes back, and what a worker asks of the database through it."""

    def __init__(self, conninfo: str, stopping: threading.Event, purpose: str, *, prepare: bool = True) -> None:
        """`stopping` ends the waiting for a database that is away, with DatabaseUnavailableError.

        `prepare` is off behind poolers that hand every transaction to another server process.
        """
        self._conninfo = conninfo
        self._stopping = stopping
        self._purpose = purpose
        self._prepare = prepare
        self._connection: psycopg.Connection | None = None
        self._vector = sql.Identifier("vector")
        self._listening = False

    @property
    def connection(self) -> psycopg.Connection:
        """The open connection, made when there is none; autocommit, so that each statement is a transaction."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo, autocommit=True, application_name=f"pgembedd {self._purpose}")
            if not self._prepare:
                self._connection.prepare_threshold = None
            self._learn_vector(self._connection)
            if self._listening:
                self._connection.execute("listen pgembedd")
        return self._connection

    def _learn_vector(self, connection: psycopg.Connection) -> None:
        row = connection.execute(query("vector_schema")).fetchone()
        if row is None:
            return  # the schema check says so in a sentence
        with connection.transaction():
            # pgvector looks its types up by bare name, and the extension may live outside the search_path.
            connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(row[0])))
            register_vector(connection)
        self._vector = sql.Identifier(row[0], "vector")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def call(self, work: Callable[[psycopg.Connection], Answer]) -> Answer:
        """Do `work`, reconnecting as often and as long as it takes, until told to stop."""
        waiting = Retrying(
            retry=retry_if_exception(lambda error: is_weather(error) or isinstance(error, _COLLISION)),
            wait=wait_exponential_jitter(initial=0.1, max=10, jitter=0.5),
            stop=lambda _: self._stopping.is_set(),
            sleep=self._sleep,
            before_sleep=self._note_weather,
            reraise=True,
        )
        return waiting(lambda: work(self.connection))

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _note_weather(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _COLLISION):
            return
        self.close()
        get_logger().warning(
            "database_away",
            purpose=self._purpose,
            tries=state.attempt_number,
            error=str(error) if isinstance(error, DatabaseUnavailableError) else type(error).__name__,
        )

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.call(lambda connection: connection.execute(query(name), values).fetchall())

    def _one(self, name: str, **values: Any) -> Any:
        return self._rows(name, **values)[0][0]

    # -- what a worker does, in the order of its stages ------------------------------------------------

    def lanes(self) -> list[tuple[str, str]]:
        """(fresh, backfill) queue names."""
        return [(row[0], row[1]) for row in self._rows("lanes")]

    def models(self) -> list[Pipeline]:
        """The running pipelines."""
        return [Pipeline(*row) for row in self._rows("models")]

    def claim(self, queue: str, claim_size: int, lease_s: int, poll_s: int = 0) -> list[Job]:
        """Up to `claim_size` jobs, ours for `lease_s` seconds; waits `poll_s` seconds for the first."""
        rows = self._rows("claim", queue=queue, claim_size=claim_size, lease_s=lease_s, poll_s=poll_s)
        return [
            Job(queue, msg_id, read_ct, key, suspect, Pipeline(*rest)) for msg_id, read_ct, key, suspect, *rest in rows
        ]

    def read(self, jobs: Sequence[Job]) -> list[Content]:
        """The content of each job's row. RowFailure when the content function raises, NotNow on contention."""
        ids = [Jsonb(job.id) for job in jobs]
        with _judged("content", self, jobs):
            rows = self._rows("read", pipeline_id=jobs[0].pipeline.id, ids=ids)
        return [Content(*row) for row in rows]

    def store(self, results: Sequence[Result]) -> list[str]:
        """Write and acknowledge; one outcome per result. RowFailure when the table refuses, NotNow on contention."""
        jobs = [result.job for result in results]
        values = {
            "queue": jobs[0].queue,
            "pipeline_id": jobs[0].pipeline.id,
            "msg_ids": [job.msg_id for job in jobs],
            "read_cts": [job.read_ct for job in jobs],
            "hashes": [result.content.hash for result in results],
            "embeddings": [None if result.vector is None else Vector(result.vector) for result in results],
            "dropped": [result.dropped for result in results],
        }
        statement = sql.SQL(query("store")).format(vector=self._vector)
        with _judged("write", self, jobs):
            rows = self.call(lambda connection: connection.execute(statement, values).fetchall())
        outcomes: dict[int, str] = dict(rows)
        return [outcomes[job.msg_id] for job in jobs]

    def fail(self, job: Job, failure: RowFailure) -> tuple[str, int, float | None]:
        """(retry, dead or lost; attempts; seconds until the next one)."""
        (row,) = self._rows(
            "fail",
            queue=job.queue,
            msg_id=job.msg_id,
            read_ct=job.read_ct,
            reason=failure.reason,
            error=failure.detail,
            permanent=failure.permanent,
        )
        return row[0], row[1], row[2]

    def release(self, jobs: Sequence[Job], delay_s: float = 0.0) -> None:
        """Give jobs back: no attempt. They may be of several queues."""
        for queue in {job.queue for job in jobs}:
            self._one("release", queue=queue, delay_s=delay_s, **_fences(jobs, queue))

    def extend(self, jobs: Sequence[Job], lease_s: int) -> set[tuple[str, int]]:
        """Keep jobs for another lease; (queue, msg_id) of those that are still ours."""
        kept: set[tuple[str, int]] = set()
        for queue in {job.queue for job in jobs}:
            kept.update(
                (queue, row[0]) for row in self._rows("extend", queue=queue, lease_s=lease_s, **_fences(jobs, queue))
            )
        return kept

    def mark_alone(self, job: Job) -> bool:
        """Note that a suspect is worked alone from here; False when it is somebody else's by now."""
        return bool(self._one("mark_alone", queue=job.queue, msg_id=job.msg_id, read_ct=job.read_ct))

    def pin_model(self, pipeline: Pipeline, fingerprint: str) -> str | None:
        """The fingerprint that the pipeline is pinned to: this one, if it had none."""
        pinned: str | None = self._one("pin_model", pipeline_id=pipeline.id, fingerprint=fingerprint)
        return pinned

    def diagnose(self, pipeline: Pipeline) -> str | None:
        """Why the pipeline cannot work at all (it is stopped then), or None."""
        reason: str | None = self._one("diagnose", pipeline_id=pipeline.id)
        return reason

    def stop_pipeline(self, pipeline: Pipeline, reason: str) -> None:
        """Stop it, with a reason that `status` shows."""
        self._one("stop_pipeline", pipeline_id=pipeline.id, reason=reason)

    def set_idle(self, idle: bool) -> None:
        """Ask the triggers to NOTIFY (True), or not to bother (False)."""
        self._one("set_idle", idle=idle)

    def tick(self, sweep_every_s: float) -> int | None:
        """The upkeep, if it is due and nobody else is at it; how many rows the sweep queued."""
        swept: int | None = self._one("tick", sweep_every_s=sweep_every_s)
        return swept

    def listen(self) -> None:
        """Hear the triggers' NOTIFY on this connection, and on those that come after it."""
        self._listening = True
        self.call(lambda connection: connection.execute("listen pgembedd"))

    def hear(self, timeout_s: float) -> bool:
        """Wait for a NOTIFY; False when none came in `timeout_s` seconds."""

        return self.call(lambda connection: any(True for _ in connection.notifies(timeout=timeout_s, stop_after=1)))


def _fences(jobs: Sequence[Job], queue: str) -> dict[LiteralString, list[int]]:
    mine = [job for job in jobs if job.queue == queue]
    return {"msg_ids": [job.msg_id for job in mine], "read_cts": [job.read_ct for job in mine]}


class _judged:  # noqa: N801  reads as a clause of `with`
    """Turns a statement's error into what is to be done: later, for these rows, or for the whole pipeline."""

    def __init__(self, reason: str, gateway: Gateway, jobs: Sequence[Job]) -> None:
        self._reason, self._gateway, self._pipeline = reason, gateway, jobs[0].pipeline

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, psycopg.Error) or is_weather(error):
            return
        if isinstance(error, _CONTENTION):
            raise NotNow(f"{self._reason}: {type(error).__name__}", CONTENTION_DELAY_S) from error
        problem = self._gateway.diagnose(self._pipeline)
        if problem is not None:
            get_logger().error("pipeline_stopped", pipeline=self._pipeline.name, reason=problem)
            raise NotNow(problem, 0.0) from error
        detail = error.diag.message_primary or type(error).__name__
        raise RowFailure(self._reason, f"{detail} (SQLSTATE {error.sqlstate})") from error
