"""What travels between the stages of a worker. Values only; nothing here does anything."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

import numpy as np
import numpy.typing as npt

from pgembedd.text.chunker import Chunk

State = Literal["ok", "blank", "gone"]


@dataclass(frozen=True, slots=True)
class Chunking:
    """How the rows of a pipeline are cut: `tokens` is None for as many as the model reads."""

    tokens: int | None
    overlap: int
    markdown: bool


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a worker has to know of a pipeline; `fingerprint` is None until a worker has pinned it.

    `chunking` is None where a row has one vector, in a column of its table.
    """

    id: int
    name: str
    model: str
    fingerprint: str | None
    dimensions: int
    chunking: Chunking | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed message. (msg_id, read_ct) is the fence: it changes when somebody else claims it.

    `id` is the row's key as JSON text: parsed, a long decimal would come back as another number. `traceparent` is the
    trace context of the transaction that wrote the row, if it gave one; only then `waited_s` says how long it waited.
    """

    queue: str
    msg_id: int
    read_ct: int
    id: str
    suspect: bool
    pipeline: Pipeline
    traceparent: str | None = None
    waited_s: float = 0.0
    attempt: int = 1

    @property
    def key(self) -> tuple[str, int, int]:
        """Names this claim of the message: among all queues, and among all claims of it, also by this worker."""
        return self.queue, self.msg_id, self.read_ct


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as it is embedded: `text` is what is put around it as well, `hash` its SHA-256.

    `known` when the database has this text's vector already.
    """

    chunk: Chunk
    text: str
    hash: bytes
    known: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What the database had for a job: the text (only when `ok`), and the SHA-256 it will be compared by.

    For a pipeline with chunks also what is put before and after each, the hashes of those that are there already,
    and, once it is cut, the pieces.
    """

    state: State
    text: str | None
    hash: bytes
    before: str = ""
    after: str = ""
    known: frozenset[bytes] = frozenset()
    pieces: tuple[Piece, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What the model has to embed."""
        if self.pieces is not None:
            return tuple(piece.text for piece in self.pieces if not piece.known)
        return () if self.text is None else (self.text,)


@dataclass(frozen=True, slots=True)
class Vector:
    """A text's vector, float32 (dims,), how many tokens it has, and how many of them the model did not read."""

    values: npt.NDArray[np.float32]
    tokens: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Result:
    """A job with what is to be stored for it: a vector for each of its content's texts, in their order."""

    job: Job
    content: Content
    vectors: Sequence[Vector]

    @property
    def dropped(self) -> int:
        """Tokens that no vector knows of."""
        return sum(vector.dropped for vector in self.vectors)


def by_pipeline(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """The jobs in groups of one pipeline each, first come first."""
    ordered = sorted(jobs, key=lambda job: job.pipeline.id)
    groups = [tuple(group) for _, group in groupby(ordered, key=lambda job: job.pipeline.id)]
    return sorted(groups, key=lambda group: min(map(attrgetter("msg_id"), group)))
