"""Statements about claimed jobs, in the order of a worker's stages."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt

from pgembedd.database.chunk_parameters import chunk_arrays
from pgembedd.database.connection import Connection
from pgembedd.database.job_errors import translate_errors
from pgembedd.database.limit import OwnerTimeoutError
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Blocker, Chunking, Content, Due, FailedAttempt, Job, Result, ServedPipeline, State
from pgembedd.database.vector_codec import BigIntegers, Blobs, Integers, Texts, Vectors
from pgembedd.errors import RowFailure
from pgembedd.text.unicode import storable

_same_pipeline = lru_cache(ServedPipeline)  # jobs of a claim have one, which is made once


@dataclass(frozen=True)
class JobRepository:
    """Claims, reads, stores, fails and releases jobs, over one connection."""

    connection: Connection

    def due(
        self,
        queue: str | None,
        names: Sequence[str] = (),
        poll_s: float = 0.0,
        unserved: Sequence[int] = (),
        *,
        idle: bool = False,
        task: str = "embed",
    ) -> list[Due]:
        """Returns the running pipelines (of `names`, if any) with jobs due; waits up to `poll_s` s for the first.

        Of one queue or of both, and of one task. Leaves out the pipelines that are `unserved`. `idle`: where nothing is
        due the triggers are asked to NOTIFY, and both queues are looked at once more.
        """
        values = {"names": list(names) or None, "poll_s": poll_s, "unserved": list(unserved), "queue": queue}
        return [Due(*row) for row in self.connection.rows("due", idle=idle, task=task, **values)]

    def set_idle(self, idle: bool) -> None:
        """Asks the triggers to NOTIFY (True), or not to (False)."""
        self.connection.value("set_idle", idle=idle)

    def claim(self, due: Due, claim_size: int, lease_s: int) -> list[Job]:
        """Claims up to `claim_size` jobs for `lease_s` seconds."""
        values = {"pipeline_id": due.pipeline_id, "queue": due.queue, "claim_size": claim_size, "lease_s": lease_s}
        return [job_of(row) for row in self.connection.rows("claim", **values)]

    def continue_backfill(self, due: Due) -> bool:
        """Queues the next rows of a large backfill; False where it has none, or none could be queued."""
        try:
            return bool(self.connection.rows_once("continue_backfill", {"pipeline_id": due.pipeline_id})[0][0])
        except OwnerTimeoutError as error:
            PipelineRepository(self.connection).note_slow(due.pipeline_id, error.allowed_s, tried=True)
            return False

    def read(self, jobs: Sequence[Job]) -> list[Content]:
        """Returns the content of each job's row. RowFailure if the content function raises, Deferred on contention."""
        values = {"pipeline_id": jobs[0].pipeline.id, "ids": Texts([job.id for job in jobs])}
        chunked = jobs[0].pipeline.chunking is not None
        with self.translated("content", jobs):
            rows = self.connection.rows_once(
                "read_chunks" if chunked else "read", values, allowed_s=jobs[0].allowed_s, binary=True
            )
        return [_of_chunks(*row) if chunked else Content(*row) for row in rows]

    def store(self, results: Sequence[Result]) -> list[str]:
        """Writes and acknowledges; returns an outcome per result. RowFailure if the table refuses, Deferred if busy."""
        jobs = [result.job for result in results]
        values = {
            "queue": jobs[0].queue,
            "pipeline_id": jobs[0].pipeline.id,
            "msg_ids": BigIntegers([job.msg_id for job in jobs]),
            "read_cts": Integers([job.read_ct for job in jobs]),
            "hashes": Blobs([result.content.hash for result in results]),
            "dropped": Integers([result.dropped for result in results]),
            "recalled": sum(vector.recalled for result in results for vector in result.vectors),
        }
        chunked = jobs[0].pipeline.chunking is not None
        vectors = chunk_arrays(results) if chunked else {"embeddings": Vectors([_vector(result) for result in results])}
        with self.translated("write", jobs):
            rows = self.connection.rows_once(
                "store_chunks" if chunked else "store", values | vectors, allowed_s=jobs[0].allowed_s
            )
        outcomes: dict[int, str] = dict(rows)
        return [outcomes[job.msg_id] for job in jobs]

    def fail(self, job: Job, failure: RowFailure) -> FailedAttempt:
        """Records a failed attempt."""
        (row,) = self.connection.rows(
            "fail",
            queue=job.queue,
            msg_id=job.msg_id,
            read_ct=job.read_ct,
            reason=failure.reason,
            error=storable(failure.detail),
            permanent=failure.permanent,
            key=job.id,
        )
        return FailedAttempt(*row)

    def release(self, jobs: Sequence[Job], delay_s: float = 0.0, why: str | None = None) -> None:
        """Releases jobs of one or several queues without an attempt; `status` shows `why` when they do not move."""
        for queue in {job.queue for job in jobs}:
            self.connection.value("release", queue=queue, delay_s=delay_s, why=why, **_fences(jobs, queue))

    def blocker(self, pipeline: ServedPipeline) -> Blocker | None:
        """Returns the lock that keeps a pipeline's rows from being read and stored; None where none does by now."""
        return next((Blocker(*row) for row in self.connection.rows("blocker", pipeline_id=pipeline.id)), None)

    def heartbeat(
        self, worker: int, place: str, sessions: list[int] | None, tasks: list[str], busy_with: list[int]
    ) -> bool:
        """Records that the worker of this number lives: its sessions, what it does, and the pipelines that it is at.

        `sessions` are None behind a pooler, which keeps none. Returns True where an index waits that it may build.
        """
        values = {"sessions": sessions, "tasks": tasks, "busy_with": busy_with}
        return bool(self.connection.value("heartbeat", worker=worker, place=place, **values))

    def extend(self, jobs: Sequence[Job], lease_s: int) -> list[Job]:
        """Extends the leases; returns the jobs whose leases are lost."""
        lost: list[Job] = []
        for queue in {job.queue for job in jobs}:
            rows = self.connection.rows("extend", queue=queue, lease_s=lease_s, **_fences(jobs, queue))
            kept = {row[0] for row in rows}
            lost += [job for job in jobs if job.queue == queue and job.msg_id not in kept]
        return lost

    def mark_alone(self, job: Job) -> bool:
        """Records that a suspect is processed alone from now on; False when its lease is lost."""
        return bool(self.connection.value("mark_alone", queue=job.queue, msg_id=job.msg_id, read_ct=job.read_ct))

    def translated(self, reason: str, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """Translates errors of a statement on users' tables into Deferred or RowFailure, with this reason."""
        return translate_errors(reason, PipelineRepository(self.connection), jobs)


def job_of(row: Sequence[Any]) -> Job:
    """Builds the Job of a row of the statements that claim: the columns of the SQL type `job`, and `allowed_s`."""
    queue, msg_id, read_ct, id, pipeline_id, name, model, fingerprint, dimensions, suspect, chunked = row[:11]
    tokens, overlap, splitter, traceparent, waited_s, attempt, source, allowed_s = row[11:]
    chunking = Chunking(tokens, overlap, splitter == "markdown") if chunked else None
    pipeline = _same_pipeline(pipeline_id, name, model or "", fingerprint, dimensions or 0, chunking, source)
    return Job(queue, msg_id, read_ct, id, suspect, pipeline, traceparent, waited_s or 0.0, attempt, allowed_s)


def _of_chunks(
    state: State, text: str | None, digest: bytes, before: str | None, after: str | None, known: Sequence[bytes] | None
) -> Content:
    """Returns the content of a row that is split, NULL where it has none."""
    return Content(state, text, digest, before or "", after or "", frozenset(known or ()))


def _fences(jobs: Sequence[Job], queue: str) -> dict[LiteralString, list[int]]:
    mine = [job for job in jobs if job.queue == queue]
    return {"msg_ids": [job.msg_id for job in mine], "read_cts": [job.read_ct for job in mine]}


def _vector(result: Result) -> npt.NDArray[np.float32] | None:
    """Returns the one vector of a row without chunks."""
    return result.vectors[0].values if result.vectors else None
