"""The queries of the page and of /api/v1, and the refusals for a database that does not answer them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import class_row, namedtuple_row

from pgembedd.database.queries import query
from pgembedd.database.rights import grant_statement
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard.sparkline import Curve, curve
from pgembedd.http.errors.refusals import Refusal
from pgembedd.text.quantities import age

DEAD_LETTERS_PER_PAGE = 50
MAX_REASONS = 200
ERROR_CHARACTERS = 1000


@dataclass(frozen=True)
class PipelineStatus:
    """A line of pgembedd.status; lengths of time in seconds."""

    pipeline: str
    source: str | None
    destination: str | None
    model: str | None
    fingerprint: str | None
    state: str
    reason: str | None
    queued: int
    queued_fresh: int
    queued_backfill: int
    oldest_age_s: float | None
    failing: int
    dead: int
    blank: int
    truncated: int
    rows_per_minute: float
    coverage: float | None
    lag_s: float | None
    index: str | None
    index_due_at: datetime | None
    triggers: bool
    time_left_s: float | None
    queued_estimated: bool


@dataclass(frozen=True)
class Minute:
    """A pipeline in one minute of the last hour; None where no sample was taken, or no row was done."""

    pipeline: str
    at: datetime
    queued: float | None
    oldest_age_s: float | None
    lag_s: float | None
    rows_per_minute: float


@dataclass(frozen=True)
class Curves:
    """A pipeline's last hour."""

    queued: Curve
    oldest: Curve
    lag: Curve
    rows: Curve


@contextmanager
def connection_for_page(service: ServiceContext) -> Iterator[psycopg.Connection]:
    """Yields a connection. Refusal 501 without a database, 502 or 503 without a connection, schema or rights."""
    if service.database is None:
        raise Refusal(501, "This service runs with --no-database: there are no pipelines to look at.", "no_database")
    with service.database.connection() as connection:
        try:
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            role = connection.info.user
            raise Refusal(
                503,
                f'The role "{role}" may not look at the pipelines: as the owner of pgembedd, '
                f"run `{grant_statement(connection, 'operator', role)}`.",
                "rights_missing",
            ) from error
        except (
            psycopg.errors.InvalidSchemaName,
            psycopg.errors.UndefinedFunction,
            psycopg.errors.UndefinedTable,
        ) as error:
            raise Refusal(
                503, "The database has not this version's schema: run `pgembedd migrate`.", "schema_missing"
            ) from error


def statuses(connection: psycopg.Connection) -> list[PipelineStatus]:
    """Returns every pipeline: stopped ones first, then those that no worker can serve, then by name."""
    with connection.cursor(row_factory=class_row(PipelineStatus)) as cursor:
        return cursor.execute(query("status")).fetchall()


def history(connection: psycopg.Connection) -> dict[str, Curves]:
    """Returns each pipeline's last hour by its name."""
    with connection.cursor(row_factory=class_row(Minute)) as cursor:
        minutes = cursor.execute(query("history")).fetchall()
    return {name: curves_of(list(these)) for name, these in groupby(minutes, key=lambda minute: minute.pipeline)}


def curves_of(minutes: Sequence[Minute]) -> Curves:
    """Returns the sparklines of one pipeline's minutes, which are in order."""
    times = [minute.at for minute in minutes]
    # An empty queue has no oldest job, so the wait is 0 where a sample was taken.
    oldest = [m.oldest_age_s if m.oldest_age_s is not None or m.queued is None else 0.0 for m in minutes]
    return Curves(
        curve("Queued", times, [m.queued for m in minutes], lambda value: f"{value:,.0f}"),
        curve("Oldest", times, oldest, age),
        curve("Lag", times, [m.lag_s for m in minutes], age),
        curve("Rows a minute", times, [m.rows_per_minute for m in minutes], lambda value: f"{value:,.0f}"),
    )


def reasons(connection: psycopg.Connection) -> list[Any]:
    """Returns the dead letters by pipeline and reason, the most frequent first, with the columns of the statement."""
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query("dead_letter_reasons"), {"limit": MAX_REASONS}).fetchall()


def dead_letters(
    connection: psycopg.Connection, pipeline: str | None, reason: str | None, page: int
) -> tuple[list[Any], bool]:
    """Returns a page of dead letters, latest first, and whether there are more; `pipeline` is "" for those of none."""
    values = {"pipeline": pipeline, "reason": reason, "length": ERROR_CHARACTERS}
    values |= {"limit": DEAD_LETTERS_PER_PAGE + 1, "offset": DEAD_LETTERS_PER_PAGE * (page - 1)}
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        found = cursor.execute(query("dead_letters"), values).fetchall()
    return found[:DEAD_LETTERS_PER_PAGE], len(found) > DEAD_LETTERS_PER_PAGE


def retry_dead_letters(connection: psycopg.Connection, pipeline: str | None, reason: str | None) -> int:
    """Retries dead letters; returns their number. Refusal for a pipeline (404) or a reason (422) that is not there."""
    try:
        row = connection.execute(query("retry_dead_letters"), {"name": pipeline, "reason": reason}).fetchone()
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.ProgramLimitExceeded) as error:
        raise Refusal(422, f"{error.diag.message_primary} {error.diag.message_hint}", param="reason") from error
    except psycopg.errors.UndefinedObject as error:
        raise Refusal(404, "There is no pipeline of this name.", "pipeline_not_found", param="pipeline") from error
    return int(row[0]) if row else 0
