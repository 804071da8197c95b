"""Statements of the worker about answers: claim, append events, finish, fail, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pgembedd.database.connection import Connection


@dataclass(frozen=True, slots=True)
class AnswerJob:
    """A question under a lease; `(id, attempt)` is the fence of everything that is written for it."""

    id: UUID
    attempt: int
    pipeline: str
    model: str | None
    question: str
    history: Sequence[Mapping[str, str]]
    """Earlier turns of the thread, `question` and `answer`, the oldest first."""
    sources: Sequence[Mapping[str, Any]]
    """`n`, `title` and `excerpt`, in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class Event:
    """What viewers are shown next."""

    name: str
    data: Mapping[str, Any]


class AnswerRepository:
    """The statements, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, at_most: int, lease_s: int) -> list[AnswerJob]:
        """Claims questions. Viewers see the attempt begin; one whose workers died too often is failed instead."""
        return [AnswerJob(*row) for row in self._connection.rows("claim_answers", at_most=at_most, lease_s=lease_s)]

    def extend(self, jobs: Sequence[AnswerJob], lease_s: int) -> set[UUID]:
        """Extends leases; returns the ids of the answers that are still this worker's."""
        return {id for (id,) in self._connection.rows("extend_answers", lease_s=lease_s, **_fences(jobs))}

    def write(self, events: Mapping[UUID, tuple[AnswerJob, Sequence[Event]]], lease_s: int) -> set[UUID]:
        """Appends events of any number of answers in one statement; returns the ids that are still this worker's."""
        written = [
            {
                "answer": str(job.id),
                "attempt": job.attempt,
                "events": [event.name for event in those],
                "data": [event.data for event in those],
            }
            for job, those in events.values()
        ]
        return {id for (id,) in self._connection.rows("add_answer_events", written=Jsonb(written), lease_s=lease_s)}

    def finish(self, job: AnswerJob, content: str, citations: Sequence[int], usage: Mapping[str, Any]) -> bool:
        """Stores the whole answer, and tells viewers that it is; False where another worker has it."""
        values = {"answer": job.id, "attempt": job.attempt, "content": content, "citations": list(citations)}
        return bool(self._connection.value("finish_answer", usage=Jsonb(usage), **values))

    def fail(self, job: AnswerJob, reason: str, *, again: bool) -> bool:
        """Ends the attempt, to be tried again a few times or not; False where another worker has the answer."""
        return bool(
            self._connection.value("fail_answer", answer=job.id, attempt=job.attempt, reason=reason, again=again)
        )

    def release(self, jobs: Sequence[AnswerJob]) -> None:
        """Hands the questions back; that is no failure of theirs."""
        self._connection.rows("release_answers", **_fences(jobs))


def _fences(jobs: Sequence[AnswerJob]) -> dict[str, list[Any]]:
    return {"answers": [job.id for job in jobs], "attempts": [job.attempt for job in jobs]}
