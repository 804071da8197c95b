"""How fast the work goes and how long it takes: since it began, the same on every surface."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import create_pipeline, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text)")
    connection.execute("insert into documents select n, 'title', 'content' from generate_series(1, 600) n")
    create_pipeline(connection)  # its backfill is queued: 600 jobs


def stored(connection: psycopg.Connection, seconds_ago: float, jobs: int, waited_s: float = 1000) -> None:
    """Notes a store of so many jobs that had been queued `waited_s` before it."""
    connection.execute(
        "insert into pgembedd_internal.activity (at, pipeline_id, written, cleared, unchanged, gone, lag)"
        " values (clock_timestamp() - make_interval(secs => %s), 1, %s, 0, 0, 0, make_interval(secs => %s))",
        [seconds_ago, jobs, waited_s],
    )


def rate(connection: psycopg.Connection) -> float:
    """Rows a minute; every surface says the same."""
    status = value(connection, "select rows_per_minute from pgembedd.status")
    metrics = value(connection, "select rows_per_minute from pgembedd.metrics()")
    assert metrics == pytest.approx(float(status), rel=0.1)
    return float(status)


def time_left(connection: psycopg.Connection) -> timedelta | None:
    found: timedelta | None = value(connection, "select time_left from pgembedd.status")
    return found


def test_work_that_began_a_moment_ago_has_the_rate_of_that_moment(documents: psycopg.Connection) -> None:
    for second in range(20):
        stored(documents, second, 100)
    assert 5000 < rate(documents) < 6500
    left = time_left(documents)
    assert left is not None
    assert timedelta(seconds=4) < left < timedelta(seconds=8)  # 600 jobs at 100 a second


def test_a_worker_that_was_away_does_not_count_as_slow(documents: psycopg.Connection) -> None:
    stored(documents, 200, 5)
    for second in range(20):
        stored(documents, second, 100)
    assert rate(documents) > 5000


def test_work_that_was_queued_after_a_pause_is_new_work(documents: psycopg.Connection) -> None:
    for second in range(60, 70):
        stored(documents, second, 1)
    for second in range(20):
        stored(documents, second, 100, waited_s=0.5)
    assert rate(documents) > 5000


def test_a_slow_provider_is_not_quicker_than_it_is(documents: psycopg.Connection) -> None:
    """30 s pass between its stores, while jobs wait."""
    for nth in range(5):
        stored(documents, 5 + 30 * nth, 10)
    assert 15 < rate(documents) < 30


def test_one_row_makes_no_high_rate(documents: psycopg.Connection) -> None:
    stored(documents, 1, 1)
    assert rate(documents) == 6


def test_the_rate_is_zero_once_the_work_is_done(documents: psycopg.Connection) -> None:
    for second in range(20, 40):
        stored(documents, second, 100)
    assert rate(documents) > 0
    documents.execute("delete from pgmq.q_pgembedd_backfill")
    assert (rate(documents), time_left(documents)) == (0, None)
    stored(documents, 1, 100)
    assert rate(documents) > 0


def test_a_pipeline_that_does_not_run_has_no_time_left(documents: psycopg.Connection) -> None:
    stored(documents, 1, 100)
    assert time_left(documents) is not None
    documents.execute("select pgembedd.pause('documents')")
    assert time_left(documents) is None


def test_without_work_there_is_neither(documents: psycopg.Connection) -> None:
    assert (rate(documents), time_left(documents)) == (0, None)


def test_a_query_that_does_not_ask_for_the_coverage_does_not_read_tables(documents: psycopg.Connection) -> None:
    plan = "\n".join(
        row[0] for row in rows(documents, "explain (verbose) select pipeline, queued from pgembedd.status")
    )
    assert "_statuses" in plan
    assert "_coverage" not in plan
