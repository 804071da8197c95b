"""Statements of the worker about answers: claim, append events, finish, fail, release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pgembedd.database.connection import Connection


@dataclass(frozen=True, eq=False)
class AnswerJob:
    """A question under a lease, equal to itself alone. `(id, attempt)` is the fence of all that is written for it."""

    id: UUID
    attempt: int
    pipeline: str
    model: str | None
    question: str
    history: Sequence[Mapping[str, str]]
    """Earlier turns of the thread, `question` and `answer`, the oldest first."""
    sources: Sequence[Mapping[str, Any]] = ()
    """`n`, `title` and `excerpt`, in the order of their numbers, once they are read."""


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """An event of an answer, as its viewers are shown it: `status`, `sources`, `delta`, `citation`, `done`, `error`."""

    name: str
    data: dict[str, Any]
    seq: int = 0
    """From 1, in the order of the events; 0 for one that the database does not have."""

    @property
    def ends(self) -> bool:
        """True for the last event of an answer."""
        return self.name in ("done", "error")


class AnswerRepository:
    """The statements, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, lease_s: int, has: Sequence[AnswerJob] = (), *, slow: bool = False) -> AnswerJob | None:
        """Claims a question. Viewers see the attempt begin; one whose workers died too often is failed instead.

        The worker `has` those: it does not claim them from itself when their lease ended in an outage. `slow` ones are
        those whose tables took too long before.
        """
        values = {"at_most": 1, "lease_s": lease_s, "has": [job.id for job in has], "slow": slow}
        return next((AnswerJob(*row) for row in self._connection.rows("claim_answers", **values)), None)

    def read(self, job: AnswerJob, allowed_s: float) -> tuple[str, Sequence[Mapping[str, Any]] | None]:
        """Returns `read` and the sources, or why there are none: `waits`, `dead`, `lost`.

        It runs code of the table's owner. QueryCanceled where that takes longer than `allowed_s` seconds.
        """
        values = {"answer": job.id, "attempt": job.attempt}
        ((outcome, sources),) = self._connection.rows_once("read_answer", values, allowed_s=allowed_s)
        return outcome, sources

    def postpone(self, job: AnswerJob, message: str, most: int) -> str:
        """Puts a question back that was not read in time: `waits`; `dead` for the `most`-th time; `lost`."""
        values = {"answer": job.id, "attempt": job.attempt, "message": message, "most": most}
        outcome: str = self._connection.value("postpone_answer", **values)
        return outcome

    def extend(self, jobs: Sequence[AnswerJob], lease_s: int) -> set[UUID]:
        """Extends leases; returns the ids of the answers that are still this worker's."""
        return {id for (id,) in self._connection.rows("extend_answers", lease_s=lease_s, **_fences(jobs))}

    def write(self, events: Sequence[tuple[AnswerJob, AnswerEvent]]) -> set[UUID]:
        """Appends events of any number of answers in one statement; returns the ids that are still this worker's."""
        values = {**_fences([job for job, _ in events]), **_columns([event for _, event in events])}
        return {id for (id,) in self._connection.rows("write_answers", **values)}

    def finish(
        self, job: AnswerJob, status: str, content: str, citations: Sequence[int], last: Sequence[AnswerEvent]
    ) -> bool:
        """Stores the whole answer with its last events, both or neither; False where another worker has it."""
        values = {"answer": job.id, "attempt": job.attempt, "status": status, "content": content, **_columns(last)}
        return bool(self._connection.value("finish_answer", citations=list(citations), **values))

    def fail(self, job: AnswerJob, message: str, *, permanent: bool, delay_s: float | None) -> str:
        """Ends the attempt: `retry` after `delay_s` or a while that doubles, `dead`, or `lost` to another worker."""
        values = {"answer": job.id, "attempt": job.attempt, "message": message}
        outcome: str = self._connection.value("fail_answer", permanent=permanent, delay_s=delay_s, **values)
        return outcome

    def release(self, jobs: Sequence[AnswerJob]) -> None:
        """Hands the questions back; that is no failure of theirs."""
        self._connection.rows("release_answers", **_fences(jobs))


def _fences(jobs: Sequence[AnswerJob]) -> dict[str, list[Any]]:
    return {"answers": [job.id for job in jobs], "attempts": [job.attempt for job in jobs]}


def _columns(events: Sequence[AnswerEvent]) -> dict[str, list[Any]]:
    return {"events": [event.name for event in events], "data": [Jsonb(event.data) for event in events]}
