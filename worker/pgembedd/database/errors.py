"""Classifies an error of a statement: retry, defer, fail the row, or stop the pipeline."""

from collections.abc import Callable, Sequence

import psycopg

from pgembedd.database.connection_errors import CONTENTION, is_connection_error
from pgembedd.database.records import Job, Pipeline
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger

CONTENTION_DELAY_S = 1.0

# The result of `diagnose` when the pipeline's code was outdated and has been regenerated.
FOLLOWED = "followed"
# The result when the table has a problem that may be over in a moment.
ALTERED = "altered"


class translate_errors:  # noqa: N801  reads as a clause of `with`
    """Translates a psycopg error into Deferred or RowFailure; an error of the connection passes unchanged."""

    def __init__(self, reason: str, diagnose: Callable[[Pipeline], str | None], jobs: Sequence[Job]) -> None:
        """`reason` is the RowFailure's; `diagnose` returns, and records, the fault of a whole pipeline."""
        self._reason, self._diagnose, self._pipeline = reason, diagnose, jobs[0].pipeline

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, psycopg.Error) or is_connection_error(error):
            return
        if isinstance(error, CONTENTION):
            raise Deferred(f"{self._reason}: {type(error).__name__}", CONTENTION_DELAY_S) from error
        try:
            problem = self._diagnose(self._pipeline)
        except psycopg.Error as unclear:
            if is_connection_error(unclear):
                raise
            # The table is being altered while its code is made anew. What lasts, the sweep stops the pipeline for.
            raise Deferred(f"{self._reason}: the table is being altered", CONTENTION_DELAY_S) from unclear
        if problem == ALTERED:
            raise Deferred(f"{self._reason}: the table is being altered", CONTENTION_DELAY_S) from error
        if problem == FOLLOWED:
            raise Deferred("the table was altered", 0.0) from error
        if problem is not None:
            get_logger().error("pipeline_stopped", pipeline=self._pipeline.name, reason=problem)
            raise Deferred(problem, 0.0) from error
        detail = error.diag.message_primary or type(error).__name__
        raise RowFailure(self._reason, f"{detail} (SQLSTATE {error.sqlstate})") from error
