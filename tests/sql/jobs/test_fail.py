"""Attempts, backoff and dead letters."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.sql import (
    FRESH,
    Job,
    call,
    claim,
    claim_one,
    column,
    create_pipeline,
    fail,
    let_leases_run_out,
    make_documents,
    postponing,
    queued,
    release,
    rows,
    value,
    work,
)
from tests.support.undone import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Row 1 waits; its pipeline gives up after three attempts."""
    make_documents(connection)
    create_pipeline(connection, max_attempts=3)
    connection.execute("insert into documents values (1, 'title', 'content')")


@pytest.fixture
def job(documents: psycopg.Connection) -> Job:
    """The row, claimed."""
    return claim_one(documents)


def next_claim(connection: psycopg.Connection) -> Job:
    let_leases_run_out(connection)
    return claim_one(connection)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    attempts=st.integers(-5, 10_000),
    base_s=st.floats(0.001, 100, allow_nan=False),
    cap_s=st.floats(0.001, 100_000, allow_nan=False),
)
def test_backoff_stays_in_its_bounds(
    connection: psycopg.Connection, attempts: int, base_s: float, cap_s: float
) -> None:
    wait: timedelta = value(
        connection,
        "select pgembedd.backoff(%s, make_interval(secs => %s), make_interval(secs => %s))",
        attempts,
        base_s,
        cap_s,
    )
    expected_s = min(cap_s, base_s * 2.0 ** min(max(attempts - 1, 0), 30))
    assert 0.75 * expected_s - 1e-5 <= wait.total_seconds() <= 1.25 * expected_s + 1e-5


def test_backoff_spreads(connection: psycopg.Connection) -> None:
    waits = column(connection, "select extract(epoch from pgembedd.backoff(1))::float8 from generate_series(1, 200)")
    assert len(set(waits)) > 150
    assert 1.5 <= min(waits) < 1.7 < 2.3 < max(waits) <= 2.5


def test_a_failed_job_waits_longer_each_time_and_dies(connection: psycopg.Connection, job: Job) -> None:
    assert fail(connection, job, error="first")[:2] == ("retry", 1)
    assert claim(connection) == []
    second = next_claim(connection)
    with postponing(connection) as wait:
        outcome, attempts, retry_in_s = fail(connection, second, error="second")
    assert (outcome, attempts) == ("retry", 2)
    assert retry_in_s is not None
    assert 3 <= retry_in_s <= 5
    assert wait.at_least_s <= retry_in_s <= wait.at_most_s
    assert fail(connection, next_claim(connection), reason="write", error="third") == ("dead", 3, None)
    assert queued(connection) == []
    ((pipeline, key, reason, error, attempts, history, queue),) = rows(
        connection, "select pipeline, key, reason, error, attempts, history, queue from pgembedd.failures"
    )
    assert (pipeline, key, reason, error, attempts, queue) == ("documents", 1, "write", "third", 3, FRESH)
    assert [(entry["reason"], entry["error"], entry["read_ct"]) for entry in history] == [
        ("content", "first", 1),
        ("content", "second", 2),
        ("write", "third", 3),
    ]


def test_a_dead_row_is_left_alone_until_it_changes(connection: psycopg.Connection, job: Job) -> None:
    assert fail(connection, job, permanent=True) == ("dead", 1, None)
    assert value(connection, "select dead from pgembedd.status") == 1
    assert call(connection, "backfill", name="documents") == 0
    assert value(connection, "select pgembedd.sweep()") == 0
    connection.execute("update documents set title = 'mended'")
    assert work(connection) == {1: "written"}
    assert rows(connection, "select * from pgembedd.failures") == []
    assert value(connection, "select dead from pgembedd.status") == 0


def test_a_failure_told_twice_counts_once(connection: psycopg.Connection, job: Job) -> None:
    first = fail(connection, job)
    again = fail(connection, job)
    assert first[:2] == again[:2] == ("retry", 1)
    assert first[2] == pytest.approx(again[2], abs=1)
    assert len(value(connection, "select headers -> 'pgembedd' -> 'history' from pgmq.q_pgembedd_jobs")) == 1
    assert fail(connection, next_claim(connection))[:2] == ("retry", 2)


def test_deferrals_are_no_attempts(connection: psycopg.Connection, job: Job) -> None:
    for _ in range(10):
        release(connection, [job])
        job = claim_one(connection)
        assert job.suspect is False
    assert fail(connection, job)[:2] == ("retry", 1)


def test_retry_failed_by_name_and_reason(connection: psycopg.Connection) -> None:
    make_documents(connection, 4)
    create_pipeline(connection)
    connection.execute("create table letters as select * from documents")
    connection.execute("alter table letters add primary key (id)")
    create_pipeline(connection, name="letters", source="letters")
    for job in claim(connection, "pgembedd_backfill"):
        fail(connection, job, reason="write" if job.id % 2 else "content", permanent=True)
    assert value(connection, "select count(*) from pgembedd.failures") == 8
    assert call(connection, "retry_failed", name="letters", reason="write") == 2
    assert sorted(queued(connection, "pgembedd_backfill")) == [1, 3]
    assert call(connection, "retry_failed", name="letters", reason="model") == 0
    with refused("No job fails for the reason 'typo'.", "There are: content, write, model, worker_died, "):
        call(connection, "retry_failed", reason="typo")
    assert call(connection, "retry_failed", name="letters") == 2
    assert call(connection, "retry_failed", reason="content") == 2
    assert value(connection, "select pgembedd.retry_failed()") == 2
    assert set(work(connection).values()) == {"written"}
    assert rows(connection, "select * from pgembedd.failures") == []
    assert rows(connection, "select * from pgembedd.row_state") == []


def test_a_retried_job_starts_afresh(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job, permanent=True)
    value(connection, "select pgembedd.retry_failed()")
    job = claim_one(connection)
    assert (job.read_ct, job.suspect) == (1, False)
    assert fail(connection, job)[:2] == ("retry", 1)


def test_a_row_that_dies_twice_has_one_letter(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job, error="first", permanent=True)
    connection.execute("update documents set title = 'new'")
    fail(connection, claim_one(connection), reason="write", error="second", permanent=True)
    letter = "select reason, error, history -> 0 ->> 'error', jsonb_array_length(history) from pgembedd.failures"
    assert rows(connection, letter) == [("write", "second", "second", 1)]
