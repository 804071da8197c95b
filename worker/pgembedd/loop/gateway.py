"""The worker's side of the SQL interface: one method per statement, one connection, one thread at a time.

The database going away is weather: a call waits, reconnects and is made again. Every statement is safe to
repeat, because each is fenced on the claim and does nothing for a job that is no longer ours.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from pgembedd.database.chunk_parameters import chunk_arrays
from pgembedd.database.connect import connect, is_connection_error
from pgembedd.database.errors import COLLISION, PASSING, judged
from pgembedd.database.queries import query
from pgembedd.database.records import Chunking, Content, Job, Pipeline, Result, State
from pgembedd.database.vector_codec import Vectors, register_vectors
from pgembedd.errors import DatabaseUnavailableError, RowFailure
from pgembedd.log import get_logger
from pgembedd.telemetry.observer import SILENT, Observer

Answer = TypeVar("Answer")


class Gateway:
    """A connection that comes back, and what a worker asks of the database through it."""

    def __init__(
        self,
        conninfo: str,
        stopping: threading.Event,
        purpose: str,
        *,
        prepare: bool = True,
        observer: Observer = SILENT,
    ) -> None:
        """`stopping` ends the waiting for a database that is away, with DatabaseUnavailableError.

        `prepare` is off behind poolers that hand every transaction to another server process. `observer` is told of
        the connection here, and of the work by whoever does it through this gateway.
        """
        self.observer = observer
        self._conninfo = conninfo
        self._stopping = stopping
        self._purpose = purpose
        self._prepare = prepare
        self._connection: psycopg.Connection | None = None
        self._vector = sql.Identifier("vector")
        self._listening = False
        self._missed = False  # a NOTIFY may have come while nobody listened

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
                self._missed = True
            self.observer.connection(self._purpose, up=True)
        return self._connection

    def _learn_vector(self, connection: psycopg.Connection) -> None:
        row = connection.execute(query("vector_type")).fetchone()
        if row is None:
            return  # the schema check says so in a sentence
        schema, element_oid, array_oid = row
        register_vectors(connection, element_oid, array_oid)
        self._vector = sql.Identifier(schema, "vector")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def call(
        self,
        work: Callable[[psycopg.Connection], Answer],
        passing: tuple[type[psycopg.Error], ...] = PASSING,
    ) -> Answer:
        """Do `work`, reconnecting as often and as long as it takes, until told to stop.

        Errors that are `passing` are tried again, too, on the same connection.
        """
        waiting = Retrying(
            retry=retry_if_exception(lambda error: is_connection_error(error) or isinstance(error, passing)),
            wait=wait_exponential(multiplier=0.1, max=10) + wait_random(0, 0.5),
            stop=lambda _: self._stopping.is_set(),
            sleep=self._sleep,
            before_sleep=self._log_retry,
            reraise=True,
        )
        return waiting(lambda: work(self.connection))

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, COLLISION):
            return
        away = error is not None and is_connection_error(error)
        if away:
            self.close()
            self.observer.connection(self._purpose, up=False)
        get_logger().warning(
            "database_away" if away else "database_busy",
            purpose=self._purpose,
            tries=state.attempt_number,
            error=str(error) if isinstance(error, DatabaseUnavailableError) else type(error).__name__,
        )

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.call(lambda connection: connection.execute(query(name), values).fetchall())

    def _once(self, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """For statements that meet users' tables: what stands in the way is for the caller to judge."""

        def work(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
            # Only now that there is a connection do we know where the vector type lives.
            statement = sql.SQL(query(name)).format(vector=self._vector)
            return connection.execute(statement, values).fetchall()

        return self.call(work, COLLISION)

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
        return [job_of(queue, row) for row in rows]

    def read(self, jobs: Sequence[Job]) -> list[Content]:
        """The content of each job's row. RowFailure when the content function raises, Deferred on contention."""
        values = {"pipeline_id": jobs[0].pipeline.id, "ids": [job.id for job in jobs]}
        chunked = jobs[0].pipeline.chunking is not None
        with judged("content", self.diagnose, jobs):
            rows = self._once("read_chunks" if chunked else "read", values)
        return [_content(*row) for row in rows]

    def store(self, results: Sequence[Result]) -> list[str]:
        """Write and acknowledge; one outcome per result. RowFailure when the table refuses, Deferred on contention."""
        jobs = [result.job for result in results]
        values = {
            "queue": jobs[0].queue,
            "pipeline_id": jobs[0].pipeline.id,
            "msg_ids": [job.msg_id for job in jobs],
            "read_cts": [job.read_ct for job in jobs],
            "hashes": [result.content.hash for result in results],
            "dropped": [result.dropped for result in results],
        }
        chunked = jobs[0].pipeline.chunking is not None
        with judged("write", self.diagnose, jobs):
            rows = (
                self._once("store_chunks", values | chunk_arrays(results))
                if chunked
                else self._once("store", values | {"embeddings": Vectors([_vector(result) for result in results])})
            )
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
            error=_storable(failure.detail),
            permanent=failure.permanent,
        )
        return row[0], row[1], row[2]

    def release(self, jobs: Sequence[Job], delay_s: float = 0.0) -> None:
        """Give jobs back: no attempt. They may be of several queues."""
        for queue in {job.queue for job in jobs}:
            self._one("release", queue=queue, delay_s=delay_s, **_fences(jobs, queue))

    def extend(self, jobs: Sequence[Job], lease_s: int) -> list[Job]:
        """Keep jobs for another lease; those that are not ours any more come back."""
        lost: list[Job] = []
        for queue in {job.queue for job in jobs}:
            kept = {row[0] for row in self._rows("extend", queue=queue, lease_s=lease_s, **_fences(jobs, queue))}
            lost += [job for job in jobs if job.queue == queue and job.msg_id not in kept]
        return lost

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
        swept: int | None = self._once("tick", {"sweep_every_s": sweep_every_s})[0][0]
        return swept

    def listen(self) -> None:
        """Hear the triggers' NOTIFY on this connection, and on those that come after it."""
        self._listening = True
        self.call(lambda connection: connection.execute("listen pgembedd"))

    def hear(self, timeout_s: float) -> bool:
        """Wait for a NOTIFY; False when none came in `timeout_s` seconds. A lost connection may have lost one."""
        # All of them at once: those that came during other statements would else wake us one by one.
        heard = self.call(lambda connection: bool(list(connection.notifies(timeout=timeout_s, stop_after=1))))
        missed, self._missed = self._missed, False
        return heard or missed


def job_of(queue: str, row: tuple[Any, ...]) -> Job:
    """A row of `claim` as the job it is."""
    msg_id, read_ct, key, suspect, *of, chunked, tokens, overlap, markdown, traceparent, waited_s, attempt = row
    pipeline = Pipeline(*[*of, Chunking(tokens, overlap, markdown) if chunked else None])
    return Job(queue, msg_id, read_ct, key, suspect, pipeline, traceparent, waited_s or 0.0, attempt)


def _content(
    state: State,
    text: str | None,
    digest: bytes,
    before: str | None = None,
    after: str | None = None,
    known: Sequence[bytes] | None = None,
) -> Content:
    return Content(state, text, digest, before or "", after or "", frozenset(known or ()))


def _fences(jobs: Sequence[Job], queue: str) -> dict[LiteralString, list[int]]:
    mine = [job for job in jobs if job.queue == queue]
    return {"msg_ids": [job.msg_id for job in mine], "read_cts": [job.read_ct for job in mine]}


def _vector(result: Result) -> npt.NDArray[np.float32] | None:
    """The one vector of a row without chunks."""
    return result.vectors[0].values if result.vectors else None


def _storable(text: str) -> str:
    """Without what Postgres cannot store in a text: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
