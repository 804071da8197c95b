"""Pause and resume: jobs wait, and go on."""

from __future__ import annotations

import psycopg

from tests.support.prepared import prepared
from tests.support.sql import (
    LANES,
    call,
    claim,
    claim_one,
    create_pipeline,
    fail,
    make_documents,
    reason,
    state,
    store,
    value,
    work,
)
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three rows that are not queued."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)


def test_a_paused_pipeline_keeps_its_jobs(documents: psycopg.Connection) -> None:
    call(documents, "pause", pipeline="documents")
    assert state(documents) == "paused"
    assert reason(documents) == "paused by postgres; call pgembedd.resume('documents') to go on"
    documents.execute("insert into documents values (4, 'x')")
    call(documents, "backfill", pipeline="documents")
    assert [claim(documents, lane) for lane in LANES] == [[], []]
    assert value(documents, "select queued from pgembedd.status") == 4
    call(documents, "resume", pipeline="documents")
    assert state(documents) == "running"
    assert set(work(documents).values()) == {"written"}


def test_a_pause_is_no_attempt_and_no_death(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x')")
    for _ in range(5):
        call(documents, "pause", pipeline="documents")
        assert claim(documents) == []
        call(documents, "resume", pipeline="documents")
    job = claim_one(documents)
    assert not job.suspect
    assert fail(documents, job)[1] == 1


def test_a_pause_stops_only_its_own_pipeline(documents: psycopg.Connection) -> None:
    create_pipeline(documents, pipeline="other", embedding_column="other_vector", backfill=False)
    documents.execute("insert into documents values (4, 'x')")
    call(documents, "pause", pipeline="documents")
    assert [job.pipeline for job in claim(documents)] == ["other"]


def test_what_is_in_flight_at_a_pause_is_finished(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x')")
    job = claim_one(documents)
    call(documents, "pause", pipeline="documents")
    assert store(documents, [job]) == ["written"]


def test_resume_wakes_a_sleeping_worker(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    call(documents, "pause", pipeline="documents")
    documents.execute("select pgembedd_internal.set_idle(true)")
    other.execute("listen pgembedd")
    call(documents, "resume", pipeline="documents")
    told = [notice.payload for notice in other.notifies(timeout=PATIENCE_S, stop_after=1)]
    assert told == ["pgembedd_fresh", "models"]
