"""Statements of the worker about answers: claim, write events, finish, fail, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pgembedd.database.connection import Connection

QUEUE = "pgembedd_answers"


@dataclass(frozen=True, slots=True)
class AnswerJob:
    """A question under a lease; `(msg_id, read_ct)` is the fence of everything that is written for it."""

    msg_id: int
    read_ct: int
    answer: UUID
    attempt: int
    model: str | None
    question: str
    history: Sequence[Mapping[str, str]]
    """Earlier turns of the thread, `question` and `answer`, the oldest first."""
    sources: Sequence[Mapping[str, Any]]
    """`n`, `title`, `url`, `excerpt`, in the order of their numbers."""


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
        """Claims questions. Viewers see the attempt begin; one that had its last attempt is failed instead."""
        return [AnswerJob(*row) for row in self._connection.rows("claim_answers", at_most=at_most, lease_s=lease_s)]

    def extend(self, jobs: Sequence[AnswerJob], lease_s: int) -> set[int]:
        """Extends leases; returns the msg_ids that are still this worker's."""
        rows = self._connection.rows("extend", queue=QUEUE, lease_s=lease_s, **_fences(jobs))
        return {msg_id for (msg_id,) in rows}

    def write(self, events: Sequence[tuple[AnswerJob, Event]]) -> set[int]:
        """Appends events of any number of answers in one statement; returns the msg_ids still this worker's."""
        rows = self._connection.rows(
            "write_answers",
            **_fences([job for job, _ in events]),
            events=[event.name for _, event in events],
            data=[Jsonb(event.data) for _, event in events],
        )
        return {msg_id for (msg_id,) in rows}

    def finish(self, job: AnswerJob, status: str, answer: str, citations: Sequence[int], last: Sequence[Event]) -> bool:
        """Stores the whole answer with its last events and ends the job; False where another worker has it."""
        return bool(
            self._connection.value(
                "finish_answer",
                msg_id=job.msg_id,
                read_ct=job.read_ct,
                status=status,
                answer=answer,
                citations=list(citations),
                events=[event.name for event in last],
                data=[Jsonb(event.data) for event in last],
            )
        )

    def fail(self, job: AnswerJob, message: str, *, permanent: bool, delay_s: float) -> str:
        """Ends the attempt: `retry` after `delay_s` seconds, `dead`, or `lost` where another worker has the job."""
        outcome: str = self._connection.value(
            "fail_answer",
            msg_id=job.msg_id,
            read_ct=job.read_ct,
            message=message,
            permanent=permanent,
            delay_s=delay_s,
        )
        return outcome

    def release(self, jobs: Sequence[AnswerJob]) -> None:
        """Hands the questions back; their attempts do not count."""
        self._connection.rows("release_answers", **_fences(jobs))


def _fences(jobs: Sequence[AnswerJob]) -> dict[str, list[int]]:
    return {"msg_ids": [job.msg_id for job in jobs], "read_cts": [job.read_ct for job in jobs]}
