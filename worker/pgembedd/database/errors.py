"""What is to be done about an error of a statement: the same again, later, or blame: rows, or a whole pipeline."""

from collections.abc import Callable, Sequence

import psycopg
from psycopg import errors

from pgembedd.database.connect import is_connection_error
from pgembedd.database.records import Job, Pipeline
from pgembedd.errors import Deferred, RowFailure
from pgembedd.log import get_logger

# Two transactions met; the same statement will do in a moment.
COLLISION = (errors.DeadlockDetected, errors.SerializationFailure)

# Somebody else's lock, or the server's limits, stood in the way: no fault of the row's.
CONTENTION = (errors.LockNotAvailable, errors.OutOfMemory, errors.DiskFull)
CONTENTION_DELAY_S = 1.0

# What `diagnose` says when the pipeline's code was out of date and has been made anew.
FOLLOWED = "followed"

# What passes by itself for a statement that touches nothing of a user's. For one that does, a time limit is
# either too short for so many rows, and then it is halved, or too short for this row, and then it is its failure.
PASSING = (*COLLISION, *CONTENTION, errors.QueryCanceled)


class judged:  # noqa: N801  reads as a clause of `with`
    """Turns an error of psycopg's into Deferred or RowFailure; weather stays what it is."""

    def __init__(self, reason: str, diagnose: Callable[[Pipeline], str | None], jobs: Sequence[Job]) -> None:
        """`reason` is the RowFailure's; `diagnose` says, and notes, what is wrong with a whole pipeline."""
        self._reason, self._diagnose, self._pipeline = reason, diagnose, jobs[0].pipeline

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, psycopg.Error) or is_connection_error(error):
            return
        if isinstance(error, CONTENTION):
            raise Deferred(f"{self._reason}: {type(error).__name__}", CONTENTION_DELAY_S) from error
        problem = self._diagnose(self._pipeline)
        if problem == FOLLOWED:
            raise Deferred("the table was altered", 0.0) from error
        if problem is not None:
            get_logger().error("pipeline_stopped", pipeline=self._pipeline.name, reason=problem)
            raise Deferred(problem, 0.0) from error
        detail = error.diag.message_primary or type(error).__name__
        raise RowFailure(self._reason, f"{detail} (SQLSTATE {error.sqlstate})") from error
