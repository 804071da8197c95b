"""The two lanes of questions: one for most, and one for those whose tables are slow or locked."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import errors

from pgembedd.answers.statements import StatementThread
from pgembedd.database.answers import AnswerJob, AnswerRepository
from pgembedd.database.connection import Connection
from pgembedd.log import get_logger

FIRST_READ_S = 2.0  # a row by its key takes milliseconds; who takes longer is read again in the other lane
MOST_READS = 4  # that did not end in time, before an answer fails

Sources = Sequence[Mapping[str, Any]]


class Lane:
    """Reads the sources of claimed questions, one after another, over its own connection that is then cleaned."""

    def __init__(self, connection: Connection, owner_timeout_s: float, *, slow: bool) -> None:
        """Code of a table's owner may take `owner_timeout_s` for one question; two seconds where no others may wait."""
        self.slow = slow
        self._repository = AnswerRepository(connection)
        self._allowed_s = owner_timeout_s if slow else min(FIRST_READ_S, owner_timeout_s)
        self._thread: StatementThread | None = None

    async def read(self, job: AnswerJob) -> Sources | None:
        """Returns the sources of a question; None for one that waits or has failed, or that is no longer ours."""
        if self._thread is None:
            self._thread = StatementThread("answer slow rows" if self.slow else "answer rows")
        try:
            outcome, sources = await self._thread.run(lambda: self._repository.read(job, self._allowed_s))
        except errors.QueryCanceled:
            sentence = f"Its rows could not be read within {self._allowed_s:g} s."
            outcome, sources = (
                await self._thread.run(lambda: self._repository.postpone(job, sentence, MOST_READS)),
                None,
            )
        if outcome == "waits":
            get_logger().warning("answer_postponed", answer=str(job.id), pipeline=job.pipeline, slow=self.slow)
        elif outcome == "dead":
            get_logger().warning("answer_failed", answer=str(job.id), error="rows", outcome=outcome)
        elif outcome == "lost":
            get_logger().info("answer_lost", answer=str(job.id))
        return sources

    def close(self) -> None:
        """Ends the thread after what it does."""
        if self._thread is not None:
            self._thread.close()
