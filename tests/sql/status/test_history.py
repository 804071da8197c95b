"""Samples of the queues, and the history that is drawn from them. Time is moved, not waited for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import Roles, connect_as
from tests.support.sql import BACKFILL, call, claim, create_pipeline, empty, fail, make_documents, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

SAMPLES = """
    select p.name, s.queued, s.backfill, s.failing, s.dead, s.oldest_age is not null, s.backfill_oldest_age is not null
    from pgembedd_internal.sample s left join pgembedd_internal.pipeline p on p.id = s.pipeline_id
    order by s.at, p.id nulls first
"""


@prepared
def three(connection: psycopg.Connection) -> None:
    """Three rows in the backfill lane."""
    make_documents(connection, 3)
    create_pipeline(connection)


@pytest.fixture
def documents(three: psycopg.Connection) -> psycopg.Connection:
    """The same; no upkeep is due but the sample."""
    three.execute("update pgembedd_internal.installation set swept_at = now(), retained_at = now(), indexes_at = now()")
    return three


def tick(connection: psycopg.Connection) -> None:
    """A minute later."""
    connection.execute("update pgembedd_internal.installation set sample_due_at = sample_due_at - interval '1 min'")
    connection.execute("select pgembedd.tick()")


def test_a_tick_samples_both_lanes(documents: psycopg.Connection) -> None:
    create_pipeline(documents, pipeline="quiet", embedding_column="other_embedding", backfill=False)
    tick(documents)
    documents.execute("update documents set title = 'x' where id < 3")
    fail(documents, next(job for job in claim(documents) if job.pipeline == "documents" and job.id == 1))
    fail(documents, next(job for job in claim(documents, BACKFILL) if job.id == 2), permanent=True)
    tick(documents)
    assert rows(documents, SAMPLES) == [
        (None, 0, 3, 0, 0, False, True),
        ("documents", 0, 3, 0, 0, False, True),
        (None, 4, 2, 1, 1, True, True),
        ("documents", 2, 2, 1, 1, True, True),
        ("quiet", 2, 0, 0, 0, True, False),
    ]


def test_a_sample_is_taken_once_a_minute(documents: psycopg.Connection) -> None:
    began = value(documents, "select clock_timestamp()")
    for _ in range(3):
        documents.execute("select pgembedd.tick()")
    assert value(documents, "select count(*) from pgembedd_internal.sample where pipeline_id is null") == 1
    due, ended = rows(documents, "select sample_due_at, clock_timestamp() from pgembedd_internal.installation")[0]
    assert due - began >= timedelta(seconds=50)
    assert due - ended <= 50 * max(timedelta(seconds=1), ended - began), "longer only where a sample takes long"


def test_when_nothing_is_queued_there_is_the_sum_alone(documents: psycopg.Connection) -> None:
    work(documents)
    tick(documents)
    assert rows(documents, SAMPLES) == [(None, 0, 0, 0, 0, False, False)]


def test_jobs_of_nobodys_count_in_the_sum(documents: psycopg.Connection) -> None:
    documents.execute('insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), \'{"who": "knows"}\')')
    tick(documents)
    assert [row[:3] for row in rows(documents, SAMPLES)] == [(None, 1, 3), ("documents", 0, 3)]


@pytest.mark.slow
def test_a_sample_that_cannot_be_taken_leaves_the_upkeep_alone(
    documents: psycopg.Connection, other: psycopg.Connection
) -> None:
    """A pipeline that is being dropped is a row that a foreign key waits for."""
    empty(documents)
    with other.transaction():
        other.execute("select from pgembedd_internal.pipeline for update")
        documents.execute("insert into documents values (4, 'x')")
        documents.execute("set lock_timeout = '1min'")
        documents.execute("update pgembedd_internal.installation set retained_at = '-infinity'")
        documents.execute("select pgembedd.tick()")
    assert rows(documents, "select * from pgembedd_internal.sample") == []
    assert value(
        documents,
        "select retained_at > '-infinity' and sample_due_at > '-infinity' from pgembedd_internal.installation",
    )


def test_samples_are_kept_for_a_day_and_go_with_their_pipeline(documents: psycopg.Connection) -> None:
    for age in ("25 hours", "23 hours"):
        tick(documents)
        documents.execute(
            "update pgembedd_internal.sample set at = now() - %s::interval where at > now() - interval '1 min'", [age]
        )
    documents.execute("select pgembedd.retention()")
    assert value(documents, "select count(*) from pgembedd_internal.sample") == 2
    call(documents, "drop_pipeline", pipeline="documents")
    assert [row[0] for row in rows(documents, SAMPLES)] == [None]


COLUMNS = """
    queued, queued_fresh, queued_backfill, extract(epoch from oldest_age)::int, failing, dead, embedded,
    extract(epoch from lag)::float8
"""


def history(
    connection: psycopg.Connection, arguments: str = "'documents', '5 min'", columns: str = COLUMNS
) -> Sequence[Any]:
    return rows(connection, f"select {columns} from pgembedd.history({arguments}) order by pipeline, at")


def put(connection: psycopg.Connection, minutes: int, queued: int | None, embedded: int = 0, lag_s: int = 0) -> None:
    """Stores the record of a minute: a sample of so many queued (None: no row of the pipeline's), and a store."""
    at = f"date_trunc('minute', now()) - interval '{minutes} min' + interval '1 s'"
    connection.execute(f"insert into pgembedd_internal.sample values ({at}, null, 9, 9, null, null, 9, 9)")
    if queued is not None:
        connection.execute(
            f"insert into pgembedd_internal.sample values ({at}, 1, {queued}, 1, '{queued} s', '2 s', 0, 0)"
        )
    if embedded:
        connection.execute(f"insert into pgembedd_internal.activity values ({at}, 1, {embedded}, 0, 0, 5, '{lag_s} s')")


def test_history_in_minutes(documents: psycopg.Connection) -> None:
    put(documents, 4, 10, 30, 2)
    put(documents, 4, 7, 10, 6)  # ticked twice in a minute: the higher one shows
    put(documents, 3, None)
    put(documents, 1, 1, 5, 1)
    nothing = (None, None, None, None, None, None, 0, None)
    found = history(documents)
    assert len(found) in (6, 7)  # the minute may have changed in between
    known = [row for row in found if row != nothing]
    assert known == [
        (11, 10, 1, 10, 0, 0, 40, 3.0),
        (0, 0, 0, None, 0, 0, 0, None),
        (2, 1, 1, 2, 0, 0, 5, 1.0),
    ]
    assert found.index(known[1]) == found.index(known[0]) + 1
    assert found[found.index(known[1]) + 1] == nothing, "no sample was taken: that is not an empty queue"


def test_wider_buckets_show_the_peak(documents: psycopg.Connection) -> None:
    # In the middle of the bucket before this one, so that no time of day parts them.
    into_bucket = "extract(epoch from now() - date_bin('5 hours', now(), 'epoch'))::int / 60"
    middle = value(documents, f"select {into_bucket}") + 150
    for minutes, queued in ((middle, 1), (middle - 1, 50), (middle - 2, 2)):
        put(documents, minutes, queued, 60)
    found = history(documents, "'documents', '10 hours', '5 hours'", "queued_fresh, embedded, rows_per_minute")
    assert {row for row in found if row[0]} in ({(50, 180, row[2]) for row in found if row[0]},)
    assert sum(row[1] for row in found) == 180


def test_the_bucket_that_is_not_over_counts_for_as_long_as_it_has_been(documents: psycopg.Connection) -> None:
    documents.execute("insert into pgembedd_internal.activity values (now(), 1, 60, 0, 0, 0, '1 s')")
    now = history(documents, "'documents', '2 days', '1 day'", "embedded, rows_per_minute, clock_timestamp() - at")[-1]
    assert now[0] == 60
    assert float(now[1]) == pytest.approx(60 / (now[2] / timedelta(minutes=1)), rel=0.1, abs=0.1)


def test_history_of_all_pipelines(documents: psycopg.Connection) -> None:
    create_pipeline(documents, pipeline="a", embedding_column="a_embedding", backfill=False)
    put(documents, 1, 3)
    found = rows(documents, "select pipeline, max(queued), count(*) from pgembedd.history() group by 1 order by 1")
    assert [row[:2] for row in found] == [("a", 0), ("documents", 4)]
    assert {row[2] for row in found} <= {61, 62}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("'nobody'", 'There is no pipeline "nobody".'),
        ("null, null", "last => NULL makes no history in buckets of 00:01:00."),
        ("null, '-1 hour'", "last => '-01:00:00' makes no history in buckets of 00:01:00."),
        ("null, '30 days'", "last => '30 days' makes no history in buckets of 00:01:00."),
        ("null, '1 hour', null", "bucket => NULL cannot be counted in."),
        ("null, '1 hour', '0'", "bucket => '00:00:00' cannot be counted in."),
        ("null, '1 year', '1 mon'", "bucket => '1 mon' cannot be counted in."),
    ],
)
def test_what_is_no_history_is_refused(documents: psycopg.Connection, arguments: str, sentence: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        documents.execute(f"select * from pgembedd.history({arguments})")
    assert refused.value.diag.message_primary == sentence
    assert refused.value.diag.message_hint


def test_history_is_the_owners(roles: Roles, database: Database, documents: psycopg.Connection) -> None:
    role = roles.make("worker")
    documents.execute("select pgembedd.grant_worker(%s)", [role])
    with connect_as(database, role) as worker:
        worker.execute("select pgembedd.tick()")
        for forbidden in ("select * from pgembedd.history()", "select * from pgembedd_internal.sample"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(forbidden)
    assert value(documents, "select count(*) from pgembedd_internal.sample") == 2
