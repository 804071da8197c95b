"""The records that the stages of a worker exchange. Values only.

Those that are made for each row are named tuples: to make a frozen dataclass takes four times as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pgembedd.text.chunker import Chunk

State = Literal["ok", "blank", "gone"]


@dataclass(frozen=True, slots=True)
class Chunking:
    """The chunking of a pipeline: `tokens` is None for as many as the model reads."""

    tokens: int | None
    overlap: int
    markdown: bool


@dataclass(frozen=True, slots=True)
class ServedPipeline:
    """The properties of a pipeline that a worker needs; `fingerprint` is None until a worker has pinned it.

    `chunking` is None where a row has one vector, in a column of its table. `source` is the oid of that table, and 0
    but in jobs. One that `parses` files has no model, and `uri_prefixes` where it fetches them.
    """

    id: int
    name: str
    model: str
    fingerprint: str | None
    dimensions: int
    chunking: Chunking | None = None
    source: int = 0
    parses: bool = False
    uri_prefixes: tuple[str, ...] = ()


FRESH, BACKFILL = "pgembedd_fresh", "pgembedd_backfill"
LANES: dict[str, Literal["fresh", "backfill"]] = {FRESH: "fresh", BACKFILL: "backfill"}
"""The queues of pgembedd, and the name of each in the model, metrics, logs and traces."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A lock that is waited for in vain: on `table`, held by the server's process `blocker`.

    That is None for a prepared transaction, and may itself wait for another process. `application` and `transaction_s`
    are None where this role may not see them.
    """

    table: str
    blocker: int | None
    waits_for: int | None
    application: str | None
    transaction_s: float | None


@dataclass(frozen=True, slots=True)
class Due:
    """A pipeline, and a queue in which it has jobs."""

    pipeline_id: int
    queue: str


class Job(NamedTuple):
    """One claimed message. (msg_id, read_ct) is the fence: it changes with every claim.

    `id` is the row's key as JSON text: parsed, a long decimal could become another number. `traceparent` is the
    trace context of the transaction that wrote the row, if it has one; only then `waited_s` is set. `allowed_s` is what
    code of the table's owner may take for it, where that was too slow lately, and the worker has the turn to try.
    """

    queue: str
    msg_id: int
    read_ct: int
    id: str
    suspect: bool
    pipeline: ServedPipeline
    traceparent: str | None = None
    waited_s: float = 0.0
    attempt: int = 1
    allowed_s: float | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """Identifies this claim of the message among all queues and all claims of it, also by this worker."""
        return self.queue, self.msg_id, self.read_ct

    @property
    def due(self) -> Due:
        """Identifies what it was claimed of."""
        return Due(self.pipeline.id, self.queue)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A recorded failure: `retry`, in `retry_in_s` seconds; `dead`; or `lost`, when another worker has the job."""

    outcome: str
    attempts: int
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as it is embedded: `text` includes the text around it, `hash` is its SHA-256.

    `known`: the database has the vector of this text.
    """

    chunk: Chunk
    text: str
    hash: bytes
    known: bool


class Content(NamedTuple):
    """The content of a row: the text (only when `ok`), and the hash by which the store compares it.

    For a pipeline with chunks also the text before and after each, the hashes of stored chunks, and, once it is
    split, the pieces.
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
        """The texts that the model has to embed."""
        if self.pieces is not None:
            return tuple(piece.text for piece in self.pieces if not piece.known)
        return () if self.text is None else (self.text,)


class Vector(NamedTuple):
    """The vector of a text, float32 (dims,), its number of tokens, and the number that the model did not read.

    `recalled`: it was held from before.
    """

    values: npt.NDArray[np.float32]
    tokens: int
    dropped: int
    recalled: bool = False


class Result(NamedTuple):
    """A job with its content and a vector for each text of the content, in order."""

    job: Job
    content: Content
    vectors: Sequence[Vector]

    @property
    def dropped(self) -> int:
        """The number of tokens that the model did not read."""
        return sum([vector.dropped for vector in self.vectors])


FileState = Literal["ok", "unchanged", "large", "later", "blank", "gone"]


@dataclass(frozen=True, slots=True)
class FileContent:
    """The file of a row (only when `ok`), the SHA-256 by which the store compares it, and its bytes.

    `unchanged`: the database has its pages; `large`: it has too many bytes; `later`: other files come first. Of a file
    that was fetched `hash` is that of its URI, and `file_hash` its own.
    """

    state: FileState
    file: bytes | None
    hash: bytes
    size: int | None
    file_hash: bytes | None = None
    validator: str | None = None


@dataclass(frozen=True, slots=True)
class UriContent:
    """The URI of a row (only when `ok`), and the SHA-256 by which the store compares it.

    A file with `file_hash` need not be parsed: its pages are there, or it is `unreadable`. The validator is that of
    this file.
    """

    state: State
    uri: str | None
    hash: bytes
    validator: str | None
    file_hash: bytes | None
    unreadable: str | None
    prefixes: Sequence[str]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A job with its file and the pages of that: `page`, `headings`, `text` and `metadata` of each."""

    job: Job
    content: FileContent
    pages: Sequence[Mapping[str, object]]
    vectors: Sequence[Vector] = ()
    dropped: int = 0


Computed = Result | ParsedFile
"""What is stored of a row."""


def by_due(jobs: Iterable[Job]) -> list[list[Job]]:
    """Groups the jobs by pipeline and queue, in the order of arrival."""
    groups: dict[tuple[int, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.pipeline.id, job.queue), []).append(job)
    return list(groups.values())
