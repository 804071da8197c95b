"""Classifies an error of a statement: retry, defer, fail the row, or stop the pipeline."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


@contextmanager
def translate_errors(reason: str, pipelines: PipelineRepository, jobs: Sequence[Job]) -> Iterator[None]:
    """Translates a psycopg error into Deferred or RowFailure; an error of the connection passes unchanged.

    `reason` is the RowFailure's; `pipelines` records the fault of a whole pipeline.
    """
    try:
        yield
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        raise _decide(error, reason, pipelines, jobs) from error


def _decide(
    error: psycopg.Error, reason: str, pipelines: PipelineRepository, jobs: Sequence[Job]
) -> Deferred | RowFailure:
    if isinstance(error, OwnerTimeoutError):
        return _too_slow(error, reason, pipelines, jobs)
    if isinstance(error, CONTENTION):
        locked = isinstance(error, errors.LockNotAvailable)
        return Deferred(f"{reason}: {type(error).__name__}", CONTENTION_DELAY_S, locked=locked)
    try:
        problem = pipelines.diagnose(jobs[0].pipeline, jobs[0].allowed_s)
    except OwnerTimeoutError as slow:
        return _too_slow(slow, reason, pipelines, jobs)
    except psycopg.Error as unclear:
        if is_connection_error(unclear):
            raise
        problem = ALTERED  # while its code is made again. What lasts, the sweep stops the pipeline for.
    if problem == ALTERED:
        return Deferred(f"{reason}: the table is being altered", CONTENTION_DELAY_S)
    if problem == FOLLOWED:
        return Deferred("the table was altered", 0.0)
    if problem is not None:
        get_logger().error("pipeline_stopped", pipeline=jobs[0].pipeline.name, reason=problem)
        return Deferred(problem, 0.0)
    detail = error.diag.message_primary or type(error).__name__
    return RowFailure(reason, f"{detail} (SQLSTATE {error.sqlstate})")


def _too_slow(
    error: OwnerTimeoutError, reason: str, pipelines: PipelineRepository, jobs: Sequence[Job]
) -> Deferred | RowFailure:
    """Has the pipeline pause. A job that is alone failed an attempt; others are tried one by one then."""
    pipelines.note_slow(jobs[0].pipeline.id, error.allowed_s, tried=jobs[0].allowed_s is not None)
    if len(jobs) > 1:
        return Deferred(f"{reason}: code of the table's owner is too slow", CONTENTION_DELAY_S)
    return RowFailure(
        reason,
        f"Code of the table's owner (the content function, triggers, checks) did not end within "
        f"{error.allowed_s:g} s: make it faster, or allow it more with PGEMBEDD_OWNER_TIMEOUT_S, then call "
        f"pgembedd.retry_dead_letters('{jobs[0].pipeline.name}').",
        slow=True,
    )
