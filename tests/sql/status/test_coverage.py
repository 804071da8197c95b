"""Coverage and lag of a pipeline in status."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    claim_one,
    create_pipeline,
    empty,
    fail,
    make_documents,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


def coverage(connection: psycopg.Connection) -> Decimal | None:
    """Of the pipeline `documents`."""
    found: Decimal | None = value(connection, "select coverage from pgembedd.status where pipeline = 'documents'")
    return found


@pytest.mark.own_database
@pytest.mark.parametrize("destination", [{}, {"embedding_table": "chunks"}])
def test_from_nothing_to_all(connection: psycopg.Connection, destination: dict[str, str]) -> None:
    make_documents(connection, 4)
    create_pipeline(connection, **destination)
    connection.execute("select pgembedd_internal.pin_model(1, 'model')")
    assert coverage(connection) == 0
    store(connection, claim(connection, BACKFILL, size=1))
    assert coverage(connection) == Decimal("0.25")
    work(connection)
    connection.execute("update pgmq.q_pgembedd_backfill set vt = now()")
    work(connection)
    assert coverage(connection) == 1
    connection.execute("update documents set title = 'new' where id = 1")
    assert coverage(connection) == Decimal("0.75"), "its vector is an old one"


def test_rows_that_nobody_queued_are_not_done(connection: psycopg.Connection) -> None:
    make_documents(connection, 4)
    create_pipeline(connection, backfill=False)
    assert coverage(connection) == 0


def test_blank_rows_are_done_and_dead_ones_are_not(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents (id, title) values (1, null), (2, ' '), (3, 'x'), (4, 'y')")
    work(connection)
    assert coverage(connection) == 1
    connection.execute("update documents set title = 'new' where id = 3")
    fail(connection, claim_one(connection), permanent=True)
    assert coverage(connection) == Decimal("0.75")


def test_an_empty_table(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    assert coverage(connection) == 1
    connection.execute("insert into documents values (1, 'x')")
    connection.execute("delete from documents")
    assert coverage(connection) == 0, "a job is left"


def test_more_jobs_than_rows(connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection)
    for title in "abc":
        connection.execute("update documents set title = %s", [title])
    assert coverage(connection) == 0


def test_a_row_that_changed_several_times_is_one_row(connection: psycopg.Connection) -> None:
    make_documents(connection, 4)
    create_pipeline(connection)
    work(connection)
    for title in "abc":
        connection.execute("update documents set title = %s where id = 2", [title])
    assert value(connection, "select queued from pgembedd.status") == 3
    assert coverage(connection) == Decimal("0.75")


@pytest.mark.parametrize("analysed", [True, False])
@pytest.mark.parametrize("partitions", ["", "partition by hash (id)"])
def test_a_large_table_is_sampled(connection: psycopg.Connection, analysed: bool, partitions: str) -> None:
    connection.execute(f"create table documents (id int primary key, title text, content text) {partitions}")
    if partitions:
        for n in range(2):
            connection.execute(
                f"create table part{n} partition of documents for values with (modulus 2, remainder {n})"
            )
    for relation in ("part0", "part1") if partitions else ("documents",):
        connection.execute(f"alter table {relation} set (autovacuum_enabled = off, fillfactor = 10)")
    create_pipeline(connection, backfill=False)
    connection.execute("insert into documents select i, 'x', repeat('x', 600) from generate_series(1, 2400) i")
    empty(connection)
    connection.execute("update documents set embedding = '[1, 2, 3]' where id % 2 = 0")
    empty(connection)
    if analysed:
        connection.execute("analyze documents")
    plan = value(connection, "select pgembedd_internal._sample(pgembedd_internal._percent('documents', 300))")
    assert "tablesample" in plan
    rows = value(connection, "select pgembedd_internal._row_count(p) from pgembedd_internal.pipeline p")
    assert rows == pytest.approx(2400, rel=0.01 if analysed else 0.4)
    assert float(coverage(connection) or 0) == pytest.approx(0.5, abs=0.15)
    connection.execute("update documents set embedding = '[1, 2, 3]' where embedding is null")
    empty(connection)
    assert coverage(connection) == 1
    connection.execute("update documents set title = 'y' where id = 1")
    assert 0.99 < float(coverage(connection) or 0) < 1, "never all of it while a job is queued"


def test_a_table_that_somebody_alters_or_dropped(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection)
    with other.transaction():
        other.execute("lock table documents in access exclusive mode")
        assert coverage(connection) is None
        assert value(connection, "select queued_backfill from pgembedd.status") == 2
    connection.execute("drop table documents")
    assert coverage(connection) is None


def test_lag_is_how_long_jobs_waited(connection: psycopg.Connection) -> None:
    make_documents(connection, 4)
    create_pipeline(connection)
    lag = "select extract(epoch from lag)::float8 from pgembedd.status"
    assert value(connection, lag) is None
    aged = "update pgmq.q_pgembedd_backfill set enqueued_at = now() - interval '{} s' where (message ->> 'id')::int {}"
    connection.execute(aged.format(100, "< 4"))
    connection.execute(aged.format(20, "= 4"))
    jobs = claim(connection, BACKFILL)
    store(connection, jobs[:3])
    store(connection, jobs[3:])
    assert value(connection, lag) == pytest.approx(80, abs=15)
    connection.execute("insert into documents values (5, 'x'), (6, 'x')")
    aged = aged.replace("backfill", "fresh")
    connection.execute(aged.format(80, "= 5"))
    connection.execute(aged.format(86400, "= 6"))
    connection.execute("delete from documents where id = 6")
    work(connection)
    assert value(connection, lag) == pytest.approx(80, abs=15), "a row that is gone waited for nothing"
    connection.execute("update pgembedd_internal.activity set at = now() - interval '6 minutes'")
    assert value(connection, lag) is None


@pytest.mark.own_database
def test_lag_of_rows_in_chunks(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("select pgembedd_internal.pin_model(1, 'model')")
    work(connection)
    assert value(connection, "select lag > interval '0' and destination = 'public.chunks' from pgembedd.status")


def test_a_change_keeps_its_age_through_death_and_a_pause(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'x')")
    connection.execute("update pgmq.q_pgembedd_fresh set enqueued_at = now() - interval '3 hours'")
    old = "select oldest_age > interval '2 hours' from pgembedd.status"
    fail(connection, claim_one(connection), permanent=True)
    assert value(connection, old) is None, "what was given up is told by `dead`"
    call(connection, "retry_dead_letters")
    assert value(connection, old)
    call(connection, "pause", pipeline="documents")
    assert claim(connection) == []
    assert value(connection, old)
    call(connection, "resume", pipeline="documents")
    assert value(connection, old)
    work(connection)
    assert value(connection, old) is None
