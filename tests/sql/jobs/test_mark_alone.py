"""A job that was read twice without an outcome may have killed its worker: it is worked alone."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    Job,
    claim,
    claim_one,
    create_pipeline,
    fail,
    let_leases_run_out,
    make_documents,
    mark_alone,
    queued,
    release,
    rows,
    store,
    value,
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
    assert rows(connection, "select reason, attempts, key from pgembedd.failures") == [("worker_died", 3, 1)]
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
    assert value(connection, "select headers -> 'pgembedd' ->> 'alone' from pgmq.q_pgembedd_jobs") == "0"
    assert next_claim(connection).id == 1


def test_deaths_and_failures_add_up(connection: psycopg.Connection, job: Job) -> None:
    fail(connection, job)
    job = next_claim(connection)
    for _ in range(2):
        mark_alone(connection, job)
        let_leases_run_out(connection)
        jobs = claim(connection)
        job = jobs[0] if jobs else job
    assert rows(connection, "select reason, attempts from pgembedd.failures") == [("worker_died", 3)]
