"""Attempts, backoff and dead letters; a job that was read twice without an outcome is a suspect, and worked alone."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgembedd.retry_policy import RetryPolicy
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
    mark_alone,
    postponing,
    queued,
    release,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection

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
    factor=st.floats(1, 100, allow_nan=False),
)
def test_backoff_stays_in_its_bounds(
    connection: psycopg.Connection, attempts: int, base_s: float, cap_s: float, factor: float
) -> None:
    wait: timedelta = value(
        connection,
        "select pgembedd_internal._backoff(%s, make_interval(secs => %s), make_interval(secs => %s), %s)",
        attempts,
        base_s,
        cap_s,
        factor,
    )
    expected_s = RetryPolicy(base_s, cap_s, factor).delay_s(attempts)
    assert 0.75 * expected_s - 1e-5 <= wait.total_seconds() <= 1.25 * expected_s + 1e-5


def test_backoff_spreads(connection: psycopg.Connection) -> None:
    waits = column(
        connection, "select extract(epoch from pgembedd_internal._backoff(1))::float8 from generate_series(1, 200)"
    )
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
        connection, "select pipeline, key, reason, error, attempts, history, queue from pgembedd.dead_letters"
    )
    assert (pipeline, key, reason, error, attempts, queue) == ("documents", 1, "write", "third", 3, FRESH)
    assert [(entry["reason"], entry["error"], entry["read_ct"]) for entry in history] == [
        ("content", "first", 1),
        ("content", "second", 2),
        ("write", "third", 3),
    ]


def test_a_pipelines_own_policy_decides_when_a_failed_job_is_tried_again(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection, retry_delay="1 min", retry_factor=10, retry_max_delay="1 hour")
    connection.execute("insert into documents values (1, 'title', 'content')")
    waits_s = []
    for _ in range(3):
        waits_s.append(fail(connection, claim_one(connection))[2])
        let_leases_run_out(connection)
    for wait_s, expected_s in zip(waits_s, [60, 600, 3600], strict=True):
        assert wait_s is not None
        assert 0.75 * expected_s <= wait_s <= 1.25 * expected_s


def test_a_dead_row_is_left_alone_until_it_changes(connection: psycopg.Connection, job: Job) -> None:
    assert fail(connection, job, permanent=True) == ("dead", 1, None)
    assert value(connection, "select dead from pgembedd.status") == 1
    assert call(connection, "backfill", pipeline="documents") == 0
    assert value(connection, "select pgembedd.sweep()") == 0
    connection.execute("update documents set title = 'mended'")
    assert work(connection) == {1: "written"}
    assert rows(connection, "select * from pgembedd.dead_letters") == []
    assert value(connection, "select dead from pgembedd.status") == 0


def test_a_failure_told_twice_counts_once(connection: psycopg.Connection, job: Job) -> None:
    first = fail(connection, job)
    again = fail(connection, job)
    assert first[:2] == again[:2] == ("retry", 1)
    assert first[2] == pytest.approx(again[2], abs=1)
    assert len(value(connection, "select message -> 'pgembedd' -> 'history' from pgmq.q_pgembedd_fresh")) == 1
    assert fail(connection, next_claim(connection))[:2] == ("retry", 2)


def test_deferrals_are_no_attempts(connection: psycopg.Connection, job: Job) -> None:
    for _ in range(10):
        release(connection, [job])
        job = claim_one(connection)
        assert job.suspect is False
    assert fail(connection, job)[:2] == ("retry", 1)


def test_retry_dead_letters_by_name_and_reason(connection: psycopg.Connection) -> None:
    make_documents(connection, 4)
    create_pipeline(connection)
    connection.execute("create table letters as select * from documents")
    connection.execute("alter table letters add primary key (id)")
    create_pipeline(connection, pipeline="letters", source="letters")
    for job in claim(connection, "pgembedd_backfill"):
        fail(connection, job, reason="write" if job.id % 2 else "content", permanent=True)
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 8
    assert call(connection, "retry_dead_letters", pipeline="letters", reason="write") == 2
    assert sorted(queued(connection, "pgembedd_backfill")) == [1, 3]
    assert call(connection, "retry_dead_letters", pipeline="letters", reason="model") == 0
    with refused("No job fails for the reason 'typo'.", "There are: content, file, write, model, worker_died, "):
        call(connection, "retry_dead_letters", reason="typo")
    assert call(connection, "retry_dead_letters", pipeline="letters") == 2
    assert call(connection, "retry_dead_letters", reason="content") == 2
    assert value(connection, "select pgembedd.retry_dead_letters()") == 2
    assert set(work(connection).values()) == {"written"}
    assert rows(connection, "select * from pgembedd.dead_letters") == []
    assert rows(connection, "select * from pgembedd_internal.row_state") == []


def test_a_retried_job_starts_afresh(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job, permanent=True)
    value(connection, "select pgembedd.retry_dead_letters()")
    job = claim_one(connection)
    assert (job.read_ct, job.suspect) == (1, False)
    assert fail(connection, job)[:2] == ("retry", 1)


def test_a_row_that_dies_twice_has_one_letter(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job, error="first", permanent=True)
    connection.execute("update documents set title = 'new'")
    fail(connection, claim_one(connection), reason="write", error="second", permanent=True)
    letter = "select reason, error, history -> 0 ->> 'error', jsonb_array_length(history) from pgembedd.dead_letters"
    assert rows(connection, letter) == [("write", "second", "second", 1)]


def test_two_reads_without_outcome_make_a_suspect(connection: psycopg.Connection, job: Job) -> None:
    assert not job.suspect
    assert not next_claim(connection).suspect
    suspect = next_claim(connection)
    assert suspect.suspect
    assert store(connection, [suspect]) == ["written"]


def test_a_recorded_failure_is_no_death(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job)
    fail(connection, next_claim(connection))
    assert not next_claim(connection).suspect


def test_only_deaths_while_alone_count_as_failures(connection: psycopg.Connection, job: Job) -> None:
    for _ in range(10):  # workers that died in company
        job = next_claim(connection)
    assert job.suspect
    for _ in range(3):
        assert mark_alone(connection, job)
        let_leases_run_out(connection)
        jobs = claim(connection)
        if not jobs:
            break
        (job,) = jobs
    assert rows(connection, "select reason, attempts, key from pgembedd.dead_letters") == [("worker_died", 3, 1)]
    assert queued(connection) == []


def test_who_only_kept_it_company_goes_first(connection: psycopg.Connection, job: Job) -> None:
    connection.execute("insert into documents values (2, 'innocent')")
    for _ in range(3):
        let_leases_run_out(connection)
        jobs = claim(connection)
    assert [(job.id, job.suspect) for job in jobs] == [(1, True), (2, True)]
    mark_alone(connection, jobs[0])
    let_leases_run_out(connection)
    assert [job.id for job in claim(connection)] == [2, 1]


@pytest.mark.parametrize("outcome", ["fail", "release"])
def test_an_outcome_ends_being_alone(connection: psycopg.Connection, job: Job, outcome: str) -> None:
    for _ in range(2):
        mark_alone(connection, job)
        job = next_claim(connection)
    if outcome == "fail":
        assert fail(connection, job)[:2] == ("retry", 1)
    else:
        assert release(connection, [job]) == 1
    assert value(connection, "select message -> 'pgembedd' ->> 'alone' from pgmq.q_pgembedd_fresh") == "0"
    assert next_claim(connection).id == 1


def test_deaths_and_failures_add_up(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job)
    job = next_claim(connection)
    for _ in range(2):
        mark_alone(connection, job)
        let_leases_run_out(connection)
        jobs = claim(connection)
        job = jobs[0] if jobs else job
    assert rows(connection, "select reason, attempts from pgembedd.dead_letters") == [("worker_died", 3)]
