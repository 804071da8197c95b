"""Due work that does not move is said to be stalled, with its cause where that is known. Time is moved, not waited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.database.queries import query
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.presence import PLACE, beat
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    Job,
    call,
    claim,
    create_pipeline,
    fail,
    let_leases_run_out,
    make_documents,
    release,
    rows,
    store,
    value,
)
from tests.support.transaction import connection
from tests.support.waiting import eventually

__all__ = ["connection"]

MINUTE, LONG = 61, 601


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows that were queued two minutes ago."""
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'a'), (2, 'b')")
    pass_time(connection, 2 * MINUTE)


def pass_time(connection: psycopg.Connection, seconds: float) -> None:
    """Moves what was queued, resumed, stored and said by workers into the past; leases go on."""
    for change in (
        "pgembedd_internal.pipeline set state_since = state_since - %s",
        "pgmq.q_pgembedd_fresh set enqueued_at = enqueued_at - %s",
        "pgembedd_internal.activity set at = at - %s",
        "pgembedd_internal.worker set answered_at = answered_at - %s",
    ):
        connection.execute(f"update {change.replace('%s', 'make_interval(secs => %s)')}".encode(), [seconds])


@contextmanager
def worker(database: Database, *, busy_with: tuple[int, ...] = ()) -> Iterator[psycopg.Connection]:
    """The session of a worker that answers now."""
    with database.connect() as made:
        beat(made, busy_with=busy_with)
        yield made


def shown(connection: psycopg.Connection) -> tuple[str, str | None]:
    connection.execute("select pg_stat_clear_snapshot()")
    ((state, reason),) = rows(connection, "select state, reason from pgembedd.status where pipeline = 'documents'")
    return state, reason


def why(connection: psycopg.Connection) -> str:
    """The cause that status names."""
    state, reason = shown(connection)
    assert state == "stalled", (state, reason)
    assert reason is not None
    head, _, cause = reason.partition(". ")
    assert " due, and none was stored for " in head
    return cause


def test_no_worker(documents: psycopg.Connection) -> None:
    told = "2 jobs are due, and none was stored for 2 min. No worker is connected: start one with `pgembedd run`."
    assert shown(documents) == ("stalled", told)
    assert rows(documents, "select state from pgembedd.metrics()") == [("stalled",)]
    call(documents, "set_push", url="http://127.0.0.1:8432/functions/v1/embed")
    assert why(documents) == "No worker is connected, and no service has taken a pushed job."
    assert (
        value(documents, "select pgembedd_internal._shown_state(p) from pgembedd_internal.pipeline p") == "running"
    ), "wait_for_pipeline() waits"


def test_not_within_a_minute_and_no_longer_once_a_row_is_stored(documents: psycopg.Connection) -> None:
    documents.execute("update pgmq.q_pgembedd_fresh set enqueued_at = clock_timestamp() - interval '50 s'")
    assert shown(documents) == ("running", None)
    pass_time(documents, 11)
    assert shown(documents)[0] == "stalled"
    store(documents, claim(documents, size=1))
    assert shown(documents) == ("running", None)
    assert value(documents, "select time_left is not null from pgembedd.status")
    pass_time(documents, MINUTE)
    assert shown(documents)[0] == "stalled"
    assert value(documents, "select time_left is null from pgembedd.status")


def test_a_pipeline_without_work_or_that_does_not_run(documents: psycopg.Connection) -> None:
    store(documents, claim(documents))
    pass_time(documents, LONG)
    assert shown(documents) == ("running", None)
    documents.execute("update documents set title = title || '!'; select pgembedd.pause('documents')")
    pass_time(documents, LONG)
    assert shown(documents)[0] == "paused"


def test_what_waits_for_another_attempt_is_not_due(documents: psycopg.Connection) -> None:
    jobs = claim(documents)
    for job in jobs:
        fail(documents, job)
    assert shown(documents) == ("running", None)
    let_leases_run_out(documents)
    assert shown(documents) == ("running", None), "it was not due before"


def test_workers_that_do_not_answer(database: Database, documents: psycopg.Connection) -> None:
    with worker(database):
        assert shown(documents)[1] is not None
        assert value(documents, query("doctor_workers")) == 1
        pass_time(documents, 20)
        assert why(documents) == f"No worker that claims jobs answers: {PLACE} for 20 s."
        documents.execute("select pg_stat_clear_snapshot()")
        assert value(documents, query("doctor_workers")) == 0
        with worker(database):
            assert why(documents).endswith(f"Another worker does not answer: {PLACE} for 20 s.")
            documents.execute("select pg_stat_clear_snapshot()")
            assert value(documents, query("doctor_workers")) == 1
    eventually(lambda: why(documents).startswith("No worker is connected"))


def test_a_worker_that_answers_has_ten_minutes(database: Database, documents: psycopg.Connection) -> None:
    """Whether it holds jobs, as of one long text, or loads the model."""
    with worker(database, busy_with=(1,)) as beat:
        assert shown(documents) == ("running", None)
        pass_time(documents, LONG)
        documents.execute("update pgembedd_internal.worker set answered_at = clock_timestamp()")
        assert why(documents) == f"A worker works on them, or loads their model: {PLACE}."
        beat.execute("update pgembedd_internal.worker set busy_with = '{}'")
        assert why(documents).startswith("Workers answer and take none of them")


def test_a_lease_is_a_worker_at_work(database: Database, documents: psycopg.Connection) -> None:
    """Also one of a worker that was killed, until it runs out."""
    claim(documents)
    assert why(documents).startswith("No worker is connected")
    with worker(database):
        assert shown(documents) == ("running", None)
        pass_time(documents, LONG)
        documents.execute("update pgembedd_internal.worker set answered_at = clock_timestamp()")
        assert why(documents).startswith("Workers answer and take none of them")


def test_workers_that_are_busy_with_other_pipelines(database: Database, documents: psycopg.Connection) -> None:
    documents.execute("create table other (id int primary key, title text)")
    create_pipeline(documents, pipeline="other", source="other", content_columns=["title"])
    documents.execute("insert into other values (1, 'x')")
    with worker(database):
        assert shown(documents)[0] == "stalled"
        (job,) = jobs_of(documents, 2)
        store(documents, [job])
        assert shown(documents) == ("running", None), "a turn may come late"
        pass_time(documents, LONG)
        documents.execute("update pgembedd_internal.activity set at = clock_timestamp()")
        documents.execute("update pgembedd_internal.worker set answered_at = clock_timestamp()")
        assert why(documents) == "The workers are busy with other pipelines."


def jobs_of(connection: psycopg.Connection, pipeline_id: int) -> list[Job]:
    jobs = claim(connection, pipeline=pipeline_id)
    assert jobs
    return jobs


def test_a_worker_behind_a_pooler_is_seen_while_it_answers(documents: psycopg.Connection) -> None:
    """It keeps no session."""
    values = {"worker": 42, "place": PLACE, "sessions": None, "tasks": ["claim"], "busy_with": [1]}
    documents.execute(query("heartbeat"), values)
    assert shown(documents) == ("running", None)
    pass_time(documents, 20)
    assert why(documents).startswith("No worker is connected")


def test_the_time_before_it_was_resumed_does_not_count(database: Database, documents: psycopg.Connection) -> None:
    documents.execute("select pgembedd.pause('documents')")
    pass_time(documents, LONG)
    documents.execute("select pgembedd.resume('documents')")
    assert shown(documents) == ("running", None)
    pass_time(documents, MINUTE)
    assert shown(documents)[0] == "stalled"
    with worker(database, busy_with=(1,)):
        assert shown(documents) == ("running", None), "it loads the model"


def test_a_heartbeat_takes_over_its_row_of_before_a_restart(database: Database, documents: psycopg.Connection) -> None:
    with worker(database, busy_with=(1,)) as session:
        documents.execute("update pgembedd_internal.worker set server_start = '2020-01-01'")
        assert shown(documents)[0] == "stalled"
        beat(session, busy_with=(1,))
        assert shown(documents) == ("running", None)


def test_what_workers_give_back_says_why(database: Database, documents: psycopg.Connection) -> None:
    """Until an attempt fails: then that is what there is to know."""
    jobs = claim(documents)
    values = {"queue": jobs[0].queue, "delay_s": 30.0, "why": "the provider is down"}
    values |= {"msg_ids": [job.msg_id for job in jobs], "read_cts": [job.read_ct for job in jobs]}
    documents.execute(query("release"), values)
    with worker(database, busy_with=(1,)):
        assert why(documents) == "Workers gave them back, the last time for: the provider is down."
        let_leases_run_out(documents)
        one, other = claim(documents)
        fail(documents, one)
        assert why(documents).startswith("Workers gave them back")
        fail(documents, other)
        let_leases_run_out(documents)
        assert value(documents, "select count(*) from pgmq.q_pgembedd_fresh where message::text like '%provider%'") == 0
        release(documents, claim(documents))


LOCKS = {
    "access exclusive": True,
    "exclusive": True,
    "share": True,
    "share update exclusive": False,
    "row exclusive": False,
}


@pytest.mark.parametrize(("mode", "blocks"), LOCKS.items())
def test_a_table_that_is_locked(database: Database, documents: psycopg.Connection, mode: str, blocks: bool) -> None:
    documents.commit()
    with database.connect(autocommit=False, application_name="a migration") as blocker, worker(database):
        blocker.execute(f"lock table documents in {mode} mode".encode())
        pid = blocker.info.backend_pid
        cause = why(documents)
        assert cause.startswith(f"The table public.documents is locked by pid {pid} (a migration). The tr") == blocks
        assert cause.endswith(f", and ran last: lock table documents in {mode} mode.") == blocks


def test_a_partition_that_is_locked(database: Database, documents: psycopg.Connection) -> None:
    """To look for it waits for no lock."""
    documents.execute("create table parts (id int primary key, title text) partition by range (id)")
    documents.execute("create table part partition of parts for values from (0) to (100)")
    create_pipeline(documents, pipeline="parts", source="parts", content_columns=["title"])
    documents.execute("insert into parts values (1, 'x')")
    pass_time(documents, MINUTE)
    documents.execute("set lock_timeout = '100ms'")
    with database.connect(autocommit=False) as blocker, worker(database):
        blocker.execute("lock table only part in access exclusive mode")
        ((told,),) = rows(documents, "select reason from pgembedd.status where pipeline = 'parts'")
        assert f"The table public.part is locked by pid {blocker.info.backend_pid}" in told
        assert len(rows(documents, query("doctor_pipelines"))) == 2


def test_a_lock_that_others_wait_behind(database: Database, documents: psycopg.Connection) -> None:
    """A long query, an ALTER that waits for it, and so all others behind that."""
    documents.commit()
    with database.connect(autocommit=False) as reader, database.connect(autocommit=False) as alters:
        reader.execute("select count(*) from documents")
        waiter = alters.info.backend_pid
        alters.execute("set lock_timeout = '1min'")
        alters.pgconn.send_query(b"alter table documents add column another int")
        waits = "select cardinality(pg_blocking_pids(%s))"
        eventually(lambda: value(documents, waits, waiter))
        cause = why(documents)
        assert f"is locked by pid {waiter}" in cause
        assert f", which waits for pid {reader.info.backend_pid}. " in cause
        assert ", and ran last: alter table" in cause
        reader.rollback()
        while alters.pgconn.get_result():
            pass


@pytest.mark.parametrize("grant", ["operator", "worker"])
def test_the_last_statement_of_the_blocker_is_not_told_to_all(
    roles: Roles, database: Database, documents: psycopg.Connection, grant: str
) -> None:
    documents.commit()
    role = roles.make("watcher")
    documents.execute(f"select pgembedd.grant_{grant}('{role}')".encode())
    documents.execute(
        "alter function pgembedd_internal._statuses owner to postgres"
    )  # as where the role pgembedd is missing
    documents.commit()
    with database.connect(autocommit=False) as blocker, connect_as(database, role) as watcher:
        blocker.execute("lock table documents; update documents set title = 'a secret' where id = 1")
        if grant == "operator":
            told = str(shown(watcher))
            assert f"The table public.documents is locked by pid {blocker.info.backend_pid}" in told
        else:
            told = str(rows(watcher, query("blocker").replace("%(pipeline_id)s", "1")))
            assert f"('public.documents', {blocker.info.backend_pid}, None" in told
        assert "secret" not in told
