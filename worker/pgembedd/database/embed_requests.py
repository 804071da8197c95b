"""Statements about the texts that callers of pgembedd.embed() wait for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from pgembedd.database.connection import Connection
from pgembedd.database.vector_codec import Texts, Vectors

CHANNEL = "pgembedd_embed_requests"


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """A text whose caller waits; `fingerprint` is the one that the model must have, None for any.

    `known`: a pipeline has that model.
    """

    id: UUID
    model: str
    fingerprint: str | None
    known: bool
    kind: Literal["query", "document"]
    text: str


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """The vector, float32 (dims,), or the sentence of a refusal."""

    id: UUID
    vector: npt.NDArray[np.float32] | None
    refusal: str | None = None


@dataclass(frozen=True)
class EmbedRequestRepository:
    """Takes, finishes and declines requests, as the worker of that number.

    `keeps_session` says that no pooler stands in between: its session holds locks, on which the callers wait.
    """

    connection: Connection
    worker: int
    keeps_session: bool = True

    def take(self, at_most: int) -> list[VectorRequest]:
        """Returns requests that this worker is to embed, in the order of arrival."""
        rows = self.connection.rows(
            "take_embed_requests", at_most=at_most, worker=self.worker, keeps_session=self.keeps_session
        )
        return [VectorRequest(*row) for row in rows]

    def finish(self, results: Sequence[EmbedResult]) -> None:
        """Sends the results to their callers, unless they have stopped waiting."""
        self.connection.value(
            "finish_embed_requests",
            ids=Texts([str(result.id) for result in results]),
            embeddings=Vectors([result.vector for result in results]),
            # Lists are what takes long to adapt.
            refusals=[result.refusal for result in results] if any(result.refusal for result in results) else None,
            worker=self.worker,
            keeps_session=self.keeps_session,
        )

    def decline(self, request: VectorRequest, reason: str) -> None:
        """Leaves the request to another worker; `reason` is the caller's error if there is none."""
        self.connection.value("decline_embed_request", id=request.id, reason=reason, worker=self.worker)
