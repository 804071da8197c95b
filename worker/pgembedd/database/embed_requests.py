"""Statements about the texts that callers of pgembedd.embed() wait for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.queries import query
from pgembedd.database.vector_codec import Vectors


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


class EmbedRequestRepository:
    """Takes, finishes and declines requests, over one connection that listens; callers check for such sessions."""

    def __init__(self, connection: Connection) -> None:
        """The first statement starts to listen."""
        self._connection = connection
        self._listening_on: psycopg.Connection | None = None

    def _listen(self, connection: psycopg.Connection) -> None:
        if self._listening_on is connection:
            return
        connection.execute(query("hear_embed_requests"))
        self._listening_on = connection

    def take(self, at_most: int) -> list[VectorRequest]:
        """Returns requests that this worker is to embed, in the order of arrival."""
        return self._connection.call(lambda connection: self._take(connection, at_most))

    def _take(self, connection: psycopg.Connection, at_most: int) -> list[VectorRequest]:
        self._listen(connection)
        rows = connection.execute(query("take_embed_requests"), {"at_most": at_most}).fetchall()
        return [VectorRequest(*row) for row in rows]

    def wait_for_notification(self, timeout_s: float) -> bool:
        """Waits for a NOTIFY; False when none came in `timeout_s` seconds."""
        return self._connection.call(lambda connection: self._wait_for_notification(connection, timeout_s))

    def _wait_for_notification(self, connection: psycopg.Connection, timeout_s: float) -> bool:
        self._listen(connection)
        return bool(list(connection.notifies(timeout=timeout_s, stop_after=1)))

    def finish(self, results: Sequence[EmbedResult]) -> None:
        """Sends the results to their callers, unless they have stopped waiting."""
        self._connection.value(
            "finish_embed_requests",
            ids=[result.id for result in results],
            embeddings=Vectors([result.vector for result in results]),
            refusals=[result.refusal for result in results],
        )

    def decline(self, request: VectorRequest, reason: str) -> None:
        """Leaves the request to another worker; `reason` is the caller's error if there is none."""
        self._connection.value("decline_embed_request", id=request.id, reason=reason)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
