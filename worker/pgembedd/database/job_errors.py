"""Classifies an error of a statement: retry, defer, fail the row, or stop the pipeline."""

from collections.abc import Sequence

import psycopg
from psycopg import errors

from pgembedd.database.connection_errors import CONTENTION, is_connection_error
from pgembedd.database.limit import OwnerTimeoutError
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import Job
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger

CONTENTION_DELAY_S = 1.0

# The result of `diagnose` when the pipeline's code was outdated and has been regenerated.
FOLLOWED = "followed"
# The result when the table has a problem that may be over in a moment.
ALTERED = "altered"


class translate_errors:  # noqa: N801  reads as a clause of `with`
    """Translates a psycopg error into Deferred or RowFailure; an error of the connection passes unchanged."""

    def __init__(self, reason: str, pipelines: PipelineRepository, jobs: Sequence[Job]) -> None:
        """`reason` is the RowFailure's; `pipelines` records the fault of a whole pipeline."""
        self._reason, self._pipelines, self._jobs = reason, pipelines, jobs
        self._pipeline = jobs[0].pipeline

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, psycopg.Error) or is_connection_error(error):
            return
        if isinstance(error, OwnerTimeoutError):
            raise self._too_slow(error) from error
        if isinstance(error, CONTENTION):
            locked = isinstance(error, errors.LockNotAvailable)
            raise Deferred(f"{self._reason}: {type(error).__name__}", CONTENTION_DELAY_S, locked=locked) from error
        try:
            problem = self._pipelines.diagnose(self._pipeline, self._jobs[0].allowed_s)
        except OwnerTimeoutError as slow:
            raise self._too_slow(slow) from slow
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

    def _too_slow(self, error: OwnerTimeoutError) -> Deferred | RowFailure:
        """Has the pipeline pause. A job that is alone failed an attempt; others are tried one by one then."""
        self._pipelines.note_slow(self._jobs[0], error.allowed_s)
        if len(self._jobs) > 1:
            return Deferred(f"{self._reason}: code of the table's owner is too slow", CONTENTION_DELAY_S)
        return RowFailure(
            self._reason,
            f"Code of the table's owner (the content function, triggers, checks) did not end within "
            f"{error.allowed_s:g} s: make it faster, or allow it more with PGEMBEDD_OWNER_TIMEOUT, then call "
            f"pgembedd.retry_failed('{self._pipeline.name}').",
            slow=True,
        )
