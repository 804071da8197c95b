"""Statements about claimed jobs, in the order of a worker's stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt

from pgembedd.database.chunk_parameters import chunk_arrays
from pgembedd.database.connection import Connection
from pgembedd.database.errors import translate_errors
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Chunking, Content, Job, Pipeline, Result, State
from pgembedd.database.vector_codec import Vectors
from pgembedd.errors import RowFailure


@dataclass(frozen=True)
class JobRepository:
    """Claims, reads, stores, fails and releases jobs, over one connection."""

    connection: Connection

    def claim(self, queue: str, claim_size: int, lease_s: int, poll_s: int = 0) -> list[Job]:
        """Claims up to `claim_size` jobs for `lease_s` seconds; waits up to `poll_s` seconds for the first."""
        rows = self.connection.rows("claim", queue=queue, claim_size=claim_size, lease_s=lease_s, poll_s=poll_s)
        return [job_of(queue, row) for row in rows]

    def read(self, jobs: Sequence[Job]) -> list[Content]:
        """Returns the content of each job's row. RowFailure if the content function raises, Deferred on contention."""
        values = {"pipeline_id": jobs[0].pipeline.id, "ids": [job.id for job in jobs]}
        chunked = jobs[0].pipeline.chunking is not None
        with translate_errors("content", self._diagnose, jobs):
            rows = self.connection.rows_once("read_chunks" if chunked else "read", values)
        return [_content(*row) for row in rows]

    def store(self, results: Sequence[Result]) -> list[str]:
        """Writes and acknowledges; returns an outcome per result. RowFailure if the table refuses, Deferred if busy."""
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
        with translate_errors("write", self._diagnose, jobs):
            if chunked:
                rows = self.connection.rows_once("store_chunks", values | chunk_arrays(results))
            else:
                embeddings = Vectors([_vector(result) for result in results])
                rows = self.connection.rows_once("store", values | {"embeddings": embeddings})
        outcomes: dict[int, str] = dict(rows)
        return [outcomes[job.msg_id] for job in jobs]

    def fail(self, job: Job, failure: RowFailure) -> tuple[str, int, float | None]:
        """Records a failed attempt; returns (retry, dead or lost; attempts; seconds until the next one)."""
        (row,) = self.connection.rows(
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
        """Releases jobs of one or several queues without an attempt."""
        for queue in {job.queue for job in jobs}:
            self.connection.value("release", queue=queue, delay_s=delay_s, **_fences(jobs, queue))

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

    def _diagnose(self, pipeline: Pipeline) -> str | None:
        return PipelineRepository(self.connection).diagnose(pipeline)


def job_of(queue: str, row: tuple[Any, ...]) -> Job:
    """Builds the Job of a row of `claim`."""
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
    """Returns the one vector of a row without chunks."""
    return result.vectors[0].values if result.vectors else None


def _storable(text: str) -> str:
    """Removes NUL and lone surrogates, which Postgres cannot store in a text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
