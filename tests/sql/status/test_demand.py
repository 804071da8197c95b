"""demand(): the seconds of one worker that the jobs take which are due or leased, as an autoscaler asks for them."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.rights.test_worker import MAY_EXECUTE, MAY_TOUCH, names
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import BACKFILL, call, claim, create_pipeline, fail, make_documents, release, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    make_documents(connection, 10)
    create_pipeline(connection)  # its backfill is queued


def demand(connection: psycopg.Connection, pipeline: str | None = None) -> float:
    """What it says; metrics() says the same by pipeline."""
    found = value(connection, "select pgembedd.demand(%s)", pipeline)
    said = value(
        connection, "select sum(demand_s) from pgembedd.metrics() where coalesce(pipeline = %s, true)", pipeline
    )
    assert found == pytest.approx(said or 0)
    return float(found)


def stored(connection: psycopg.Connection, count: int, *, each_s: float, lag_s: float, workers: int | None = 1) -> None:
    """Notes so many stores of ten jobs each, `each_s` apart, whose jobs had waited `lag_s`."""
    connection.execute(
        "insert into pgembedd_internal.activity (at, pipeline_id, written, cleared, unchanged, gone, lag, workers)"
        " select now() - make_interval(secs => 1 + %s * n), 1, 10, 0, 0, 0, make_interval(secs => %s), %s"
        " from generate_series(0, %s - 1) n",
        [each_s, lag_s, workers, count],
    )


def test_without_pipelines_there_is_none(connection: psycopg.Connection) -> None:
    assert demand(connection) == 0


def test_jobs_take_a_tenth_of_a_second_where_nothing_is_known(documents: psycopg.Connection) -> None:
    assert demand(documents) == pytest.approx(1)
    work(documents)
    assert demand(documents) == 0


def test_a_leased_job_counts_and_one_that_waits_for_another_attempt_does_not(documents: psycopg.Connection) -> None:
    first, second, third, *others = claim(documents, BACKFILL)
    assert demand(documents) == pytest.approx(1)
    fail(documents, first)
    fail(documents, second)
    fail(documents, third, permanent=True)
    assert demand(documents) == pytest.approx(0.7)
    documents.execute("update pgmq.q_pgembedd_backfill set vt = clock_timestamp() where msg_id = %s", [first.msg_id])
    assert demand(documents) == pytest.approx(0.8)
    assert [job.msg_id for job in claim(documents, BACKFILL)] == [first.msg_id]
    assert demand(documents) == pytest.approx(0.8)
    release(documents, others)
    assert demand(documents) == pytest.approx(0.8)


@pytest.mark.parametrize("stop", ["pgembedd.pause('documents')", "pgembedd_internal._stop(1, 'it is', 'it is')"])
def test_what_does_not_run_has_none(documents: psycopg.Connection, stop: str) -> None:
    documents.execute(f"select {stop}".encode())
    assert demand(documents) == demand(documents, "documents") == 0
    call(documents, "resume", pipeline="documents")
    assert demand(documents) == pytest.approx(1)


def test_what_no_worker_can_serve_has_none(documents: psycopg.Connection) -> None:
    documents.execute("select pgembedd_internal.note_unserved(1, 'The model is missing.')")
    assert demand(documents) == 0
    documents.execute("select pgembedd_internal.note_served(1)")
    assert demand(documents) == pytest.approx(1)


def test_it_is_told_of_one_pipeline_or_of_all(documents: psycopg.Connection) -> None:
    make_other = "create table other (id int primary key, content text); insert into other values (1, 'a'), (2, 'b')"
    documents.execute(make_other)
    create_pipeline(documents, pipeline="other", source="other", content_columns=["content"])
    assert demand(documents) == pytest.approx(1.2)
    assert demand(documents, "documents") == pytest.approx(1)
    assert demand(documents, "other") == pytest.approx(0.2)
    with refused('There is no pipeline "another".', "There are: documents, other."):
        demand(documents, "another")


def test_the_rate_is_that_of_one_worker_that_had_jobs_waiting(documents: psycopg.Connection) -> None:
    stored(documents, 5, each_s=2, lag_s=100)  # 40 jobs in 8 s
    assert demand(documents) == pytest.approx(2)


def test_workers_that_stored_together_share_the_time(documents: psycopg.Connection) -> None:
    stored(documents, 5, each_s=2, lag_s=100, workers=4)
    assert demand(documents) == pytest.approx(8)


def test_a_worker_that_had_little_to_do_does_not_count_as_slow(documents: psycopg.Connection) -> None:
    stored(documents, 5, each_s=50, lag_s=0.1)
    assert demand(documents) == pytest.approx(1)


def test_a_pipeline_without_a_rate_has_that_of_the_others(documents: psycopg.Connection) -> None:
    documents.execute("create table other (id int primary key, content text); insert into other values (1, 'a')")
    create_pipeline(documents, pipeline="other", source="other", content_columns=["content"])
    stored(documents, 5, each_s=2, lag_s=100)
    assert demand(documents, "other") == pytest.approx(0.2)


def test_a_store_notes_the_workers_that_answer(documents: psycopg.Connection) -> None:
    for worker, tasks in (1, "{claim}"), (2, "{claim,push}"), (3, "{embed}"):
        documents.execute("select pgembedd_internal.heartbeat(%s, 'here', null, %s, '{}')", [worker, tasks])
    work(documents)
    assert rows(documents, "select distinct workers from pgembedd_internal.activity") == [(2,)]


def test_a_role_of_the_grant_may_call_it_and_nothing_else(
    roles: Roles, documents: psycopg.Connection, database: Database
) -> None:
    role = roles.make("scaler")
    documents.execute("select pgembedd.grant_demand(%s)", [role])
    assert names(documents, MAY_EXECUTE, role) == {"demand(text)"}
    assert names(documents, MAY_TOUCH, role) == set()
    with connect_as(database, role) as theirs:
        assert value(theirs, "select pgembedd.demand()") == pytest.approx(1)
