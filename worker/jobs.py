"""What travels between the stages of a worker. Values only; nothing here does anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

import numpy as np
import numpy.typing as npt

State = Literal["ok", "blank", "gone"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a worker has to know of a pipeline; `fingerprint` is None until a worker has pinned it."""

    id: int
    name: str
    model: str
    fingerprint: str | None
    dimensions: int


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed message. (msg_id, read_ct) is the fence: it changes when somebody else claims it.

    `id` is the row's key as JSON text: parsed, a long decimal would come back as another number.
    """

    queue: str
    msg_id: int
    read_ct: int
    id: str
    suspect: bool
    pipeline: Pipeline

    @property
    def key(self) -> tuple[str, int, int]:
        """Names this claim of the message: among all queues, and among all claims of it, also by this worker."""
        return self.queue, self.msg_id, self.read_ct


@dataclass(frozen=True, slots=True)
class Content:
    """What the database had for a job: the text (only when `ok`), and the SHA-256 it will be compared by."""

    state: State
    text: str | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """A job with what is to be stored for it: a vector (float32, shape (dims,)), or None to clear."""

    job: Job
    content: Content
    vector: npt.NDArray[np.float32] | None
    dropped: int


def by_pipeline(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """The jobs in groups of one pipeline each, first come first."""
    ordered = sorted(jobs, key=lambda job: job.pipeline.id)
    groups = [tuple(group) for _, group in groupby(ordered, key=lambda job: job.pipeline.id)]
    return sorted(groups, key=lambda group: min(map(attrgetter("msg_id"), group)))
