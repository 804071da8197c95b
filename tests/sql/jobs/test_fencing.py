"""A worker whose lease ran out can do nothing any more."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    FRESH,
    Job,
    claim,
    claim_one,
    create_pipeline,
    extend,
    fail,
    let_leases_run_out,
    made_up,
    make_documents,
    mark_alone,
    queued,
    read,
    release,
    rows,
    store,
    vectors,
)
from tests.support.undone import connection
from tests.support.waiting import PATIENCE_S

__all__ = ["connection"]

TEXT = "title 1\n\ncontent 1"


@prepared
def documents(connection: psycopg.Connection) -> None:
    """An empty table with a pipeline."""
    make_documents(connection)
    create_pipeline(connection)


@pytest.fixture
def job(documents: psycopg.Connection) -> Job:
    """Row 1, claimed from the fresh lane."""
    documents.execute("insert into documents values (1, 'title 1', 'content 1')")
    return claim_one(documents)


def queue_rows(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return rows(connection, "select * from pgmq.q_pgembedd_jobs")


def test_a_job_goes_round(connection: psycopg.Connection, job: Job) -> None:
    assert (job.id, job.read_ct, job.suspect, job.pipeline) == (1, 1, False, "documents")
    (content,) = read(connection, [job])
    assert (content.state, content.text) == ("ok", TEXT)
    assert store(connection, [job], [content]) == ["written"]
    assert vectors(connection) == [made_up(TEXT)]
    assert queued(connection) == []


def test_a_claim_is_hidden_until_its_lease_ends(connection: psycopg.Connection, job: Job) -> None:
    assert claim(connection) == []
    let_leases_run_out(connection)
    assert claim_one(connection).read_ct == 2


OLD_ACTS: list[Callable[[psycopg.Connection, Job], object]] = [
    lambda connection, job: store(connection, [job]) == ["lost"],
    lambda connection, job: fail(connection, job) == ("lost", None, None),
    lambda connection, job: fail(connection, job, permanent=True) == ("lost", None, None),
    lambda connection, job: extend(connection, [job], 600) == [],
    lambda connection, job: release(connection, [job]) == 0,
    lambda connection, job: mark_alone(connection, job) is False,
]


@pytest.mark.parametrize("act", OLD_ACTS, ids=["store", "fail", "fail for good", "extend", "release", "mark_alone"])
def test_the_old_worker_can_do_nothing(
    connection: psycopg.Connection, job: Job, act: Callable[[psycopg.Connection, Job], object]
) -> None:
    let_leases_run_out(connection)
    new = claim_one(connection)
    before = queue_rows(connection)
    assert act(connection, job) is True
    assert queue_rows(connection) == before
    assert vectors(connection) == [None]
    assert rows(connection, "select * from pgembedd.dead_letter") == []
    assert store(connection, [new]) == ["written"]


@pytest.mark.parametrize("act", OLD_ACTS, ids=["store", "fail", "fail for good", "extend", "release", "mark_alone"])
def test_nothing_is_left_to_do_for_a_finished_job(
    connection: psycopg.Connection, job: Job, act: Callable[[psycopg.Connection, Job], object]
) -> None:
    store(connection, [job])
    before = vectors(connection)
    assert act(connection, job) is True
    assert vectors(connection) == before
    assert rows(connection, "select * from pgembedd.dead_letter") == []


def test_what_is_lost_does_not_stop_the_rest(connection: psycopg.Connection, job: Job) -> None:
    connection.execute("insert into documents values (2, 'title 2', '')")
    jobs = [job, *claim(connection)]
    connection.execute("update pgmq.q_pgembedd_jobs set vt = now() where msg_id = %s", [job.msg_id])
    claim(connection)
    assert store(connection, jobs) == ["lost", "written"]


def test_an_expired_lease_that_nobody_took_still_stands(connection: psycopg.Connection, job: Job) -> None:
    let_leases_run_out(connection)
    assert store(connection, [job]) == ["written"]


def test_extend_keeps_the_claim(connection: psycopg.Connection, job: Job) -> None:
    let_leases_run_out(connection)
    assert extend(connection, [job]) == [job.msg_id]
    assert claim(connection) == []


def test_release_gives_it_to_the_next(connection: psycopg.Connection, job: Job) -> None:
    assert release(connection, [job]) == 1
    again = claim_one(connection)
    assert (again.read_ct, again.suspect) == (2, False)
    assert release(connection, [again], delay_s=60) == 1
    assert claim(connection) == []


def test_release_wakes_a_sleeping_worker(connection: psycopg.Connection, other: psycopg.Connection, job: Job) -> None:
    connection.execute("select pgembedd.set_idle(true)")
    other.execute("listen pgembedd")
    release(connection, [job])
    assert [notice.payload for notice in other.notifies(timeout=PATIENCE_S, stop_after=1)] == [FRESH]


def test_either_both_or_neither(connection: psycopg.Connection, job: Job) -> None:
    with connection.transaction(force_rollback=True):
        assert store(connection, [job]) == ["written"]
    assert vectors(connection) == [None]
    assert queued(connection) == [1]
