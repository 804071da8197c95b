"""Keys and messages that fit into no index, and failures that cannot be recorded, stop nothing."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import (
    BACKFILL,
    FRESH,
    call,
    claim,
    claim_one,
    create_pipeline,
    due,
    fail,
    let_leases_run_out,
    make_documents,
    rows,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

# Digits at random, so that no compression makes it fit into the 2,704 bytes of an index entry.
LONG = "(select string_agg(md5(i::text || random()), '') from generate_series(1, {}) i)"


@pytest.fixture
def long_key(connection: psycopg.Connection) -> str:
    """A table with the longest text key that its own index takes, in a blank row; the key."""
    make_documents(connection, key="id text primary key")
    create_pipeline(connection, max_attempts=2)
    connection.execute(f"insert into documents (id, title) select left({LONG.format(90)}, 2690), ' '")
    return str(value(connection, "select id from documents"))


def test_a_blank_row_is_recorded_by_any_key(connection: psycopg.Connection, long_key: str) -> None:
    assert work(connection) == {long_key: "unchanged"}
    assert rows(connection, "select key, state from pgembedd_internal.row_state") == [(long_key, "blank")]
    assert value(connection, "select pgembedd.sweep()") == 0
    connection.execute("update documents set title = 'no longer blank'")
    assert work(connection) == {long_key: "written"}
    assert rows(connection, "select key, state from pgembedd_internal.row_state") == []


def test_a_job_dies_by_any_key_once(connection: psycopg.Connection, long_key: str) -> None:
    for outcome in ("retry", "dead"):
        let_leases_run_out(connection)
        assert fail(connection, claim_one(connection))[0] == outcome
    assert rows(connection, "select key, reason from pgembedd.dead_letters") == [(long_key, "content")]
    connection.execute("update documents set title = 'again'")
    fail(connection, claim_one(connection), permanent=True)
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 1
    assert call(connection, "retry_dead_letters") == 1
    assert work(connection) == {long_key: "written"}
    assert rows(connection, "select key from pgembedd.dead_letters") == []


def test_keys_that_are_equal_as_json_are_one(connection: psycopg.Connection) -> None:
    """1.0 and 1.00 name the same row."""
    make_documents(connection, key="id numeric primary key")
    create_pipeline(connection)
    connection.execute("insert into documents (id, title) values (1.0, ' ')")
    work(connection)
    connection.execute("update documents set id = 1.00, title = '  '")
    work(connection)
    assert value(connection, "select count(*) from pgembedd_internal.row_state") == 1


@pytest.mark.parametrize("queue", [FRESH, BACKFILL])
def test_a_strangers_long_message_becomes_a_dead_letter(connection: psycopg.Connection, queue: str) -> None:
    make_documents(connection)
    create_pipeline(connection)
    for message in ("jsonb_build_object('id', {0})", "jsonb_build_object('id', {0}, 'pipeline', {0})"):
        statement = f"insert into pgmq.q_{queue} (vt, message) select now(), {message.format(LONG.format(1000))}"
        connection.execute(statement)
    assert due(connection, queue) == []
    assert value(connection, "select count(*) from pgembedd.dead_letters where reason = 'unknown_pipeline'") == 2


def test_a_failure_that_cannot_be_recorded_is_put_off(connection: psycopg.Connection) -> None:
    """A trigger stands for whatever may go wrong with a row of ours."""
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents (id, title) values (1, 'a'), (2, 'b')")
    connection.execute("""
        create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
        create trigger refuse before update on pgmq.q_pgembedd_fresh for each row
        when (new.message is distinct from old.message) execute function refuse()
    """)
    jobs = claim(connection)
    assert fail(connection, jobs[0]) == ("retry", 0, 600.0)
    connection.execute("drop trigger refuse on pgmq.q_pgembedd_fresh")
    assert work(connection) == {}, "one is put off, the other one under its lease"
    let_leases_run_out(connection)
    assert work(connection) == {1: "written", 2: "written"}


def test_a_dead_letter_that_cannot_be_kept_leaves_a_trace(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute("insert into documents (id, title) values (1, 'a')")
    connection.execute("alter table pgembedd_internal.row_state add check (state <> 'dead')")
    assert fail(connection, claim_one(connection), permanent=True)[0] == "dead"
    ((pipeline, reason, error),) = rows(connection, "select pipeline, reason, error from pgembedd.dead_letters")
    assert (pipeline, reason, error) == (None, "content", "It could not be kept: 23514")
    assert claim(connection) == []
