"""A pipeline whose owner's code does not end pauses, and is tried by one worker at a time, ever less often."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.sql import FRESH, claim, create_pipeline, due, let_leases_run_out, make_documents, value

OVER = "update pgembedd_internal.pipeline set slow_until = clock_timestamp()"
PAUSE_S = "select extract(epoch from slow_pause)::float8 from pgembedd_internal.pipeline"
QUEUE = "select pgembedd_internal.note_slow(1, allowed_s => %s, timeout_s => 60, tried => %s)"


def make_slow(connection: psycopg.Connection, rows: int = 4) -> None:
    """A pipeline with rows waiting that was too slow once."""
    make_documents(connection)
    create_pipeline(connection)
    connection.execute(f"insert into documents (id, title) select i, 'text' from generate_series(1, {rows}) i")
    connection.execute(QUEUE, (60, False))


def test_it_pauses_and_says_so(connection: psycopg.Connection) -> None:
    make_slow(connection)
    assert due(connection, FRESH) == []
    assert claim(connection) == []
    assert value(connection, "select state from pgembedd.status") == "unserved"
    assert value(connection, "select reason from pgembedd.status").startswith("Code of the owner of public.documents")
    connection.execute("select pgembedd.resume('documents')")
    assert value(connection, "select state from pgembedd.status") == "running"
    assert len(claim(connection)) == 4


def test_one_worker_at_a_time_tries_one_row_for_a_sixteenth_of_the_pause(connection: psycopg.Connection) -> None:
    make_slow(connection)
    connection.execute(OVER)
    query = "select pgembedd_internal.allowed_s(1) from pgembedd_internal.claim(1, 'pgembedd_fresh', 10, 60)"
    assert connection.execute(query).fetchall() == [(60 / 16,)]
    assert connection.execute(query).fetchall() == [], "another worker has the turn"
    connection.execute("select pgembedd_internal.end_turn(1)")
    assert connection.execute(query).fetchall() == [(60 / 16,)]


def test_the_pause_doubles_for_the_worker_that_tried(connection: psycopg.Connection) -> None:
    make_slow(connection)
    connection.execute(QUEUE, (60, False))
    assert value(connection, PAUSE_S) == 60, "another worker learned of it as well"
    pauses = []
    for _ in range(6):
        connection.execute(OVER)
        claim(connection)
        connection.execute(QUEUE, (1, True))
        pauses.append(value(connection, PAUSE_S))
    assert pauses == [120, 240, 480, 960, 960, 960]
    connection.execute(
        "update pgembedd_internal.pipeline set slow_ends = clock_timestamp(), slow_until = clock_timestamp()"
    )
    let_leases_run_out(connection)
    assert len(claim(connection)) == 4, "it is forgotten"
    assert value(connection, "select slow_reason from pgembedd_internal.pipeline") is None


@pytest.mark.parametrize("others", [0, 2])
def test_several_pause_as_many_times_as_long(connection: psycopg.Connection, others: int) -> None:
    make_slow(connection)
    for i in range(others):
        connection.execute(f"create table other_{i} (id int primary key, title text)")
        create_pipeline(connection, pipeline=f"other_{i}", source=f"other_{i}", content_columns=["title"])
        connection.execute(
            "select pgembedd_internal.note_slow(id, 60, 60, false) from pgembedd_internal.pipeline where id > 1"
        )
    connection.execute(QUEUE, (60, False))
    paused = (
        "select extract(epoch from slow_until - clock_timestamp())::float8 from pgembedd_internal.pipeline where id = 1"
    )
    assert value(connection, paused) > (1 + others) * 60 - 60


def test_a_slow_owner_stops_the_upkeep_of_no_other(database: Database, connection: psycopg.Connection) -> None:
    """What cancels an upkeep undoes all of it, so the next one leaves that pipeline out."""
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("create table other (id int primary key, title text)")
    create_pipeline(connection, pipeline="other", source="other", content_columns=["title"])
    connection.execute("set session_replication_role = replica; insert into other values (1, 'unseen');")
    connection.execute("reset session_replication_role")
    connection.execute(
        "create function slow() returns boolean language plpgsql immutable as 'begin return true; end';"
        "create index on documents (id) where slow();"
        "create or replace function slow() returns boolean language plpgsql immutable as "
        "'begin perform pg_sleep(100000); return true; end'"
    )
    connection.execute("update pgembedd_internal.installation set swept_at = '-infinity', indexes_at = 'infinity'")
    connection.execute("update pgembedd_internal.installation set retained_at = 'infinity', sample_due_at = 'infinity'")
    connection.commit()
    with database.connect() as upkeep:
        upkeep.execute("set statement_timeout = '2s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            upkeep.execute("select pgembedd.tick()")
        upkeep.execute("reset statement_timeout")
        assert upkeep.execute("select pgembedd.tick()").fetchone() == (None,), "it notes at which pipeline that was"
        assert upkeep.execute("select pgembedd.tick()").fetchone() == (1,)
        (told,) = upkeep.execute(
            "select pgembedd_internal._shown_reason(p) from pgembedd_internal.pipeline p where id = 1"
        ).fetchall()
        assert told[0].startswith("The upkeep did not end in time")
