"""Content that its own writing changes, by a trigger of the user's."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import (
    BACKFILL,
    claim,
    claim_one,
    create_pipeline,
    fail,
    make_documents,
    queued,
    rows,
    store,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


def touching(column_name: str) -> str:
    return f"""
        alter table documents add updated_at timestamptz;
        create function touch() returns trigger language plpgsql as $$
        begin new.{column_name} := clock_timestamp(); return new; end $$;
        create trigger touch before update on documents for each row execute function touch()
    """


def test_content_that_its_own_writing_changes_stops_the_pipeline(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    connection.execute(touching("updated_at"))
    create_pipeline(connection, content_columns=["title", "updated_at"], backfill=False)
    connection.execute("update documents set title = 'new'")
    outcomes = []
    while jobs := claim(connection):
        outcomes += store(connection, jobs)
        assert len(outcomes) < 10
    assert outcomes == ["rewritten"] * 3
    state, reason = rows(connection, "select state, reason from pgembedd.status")[0]
    assert state == "stopped"
    assert "take that column out of the content" in reason


def test_a_trigger_that_touches_another_column_is_fine(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    connection.execute(touching("updated_at"))
    create_pipeline(connection, backfill=False)
    connection.execute("update documents set title = 'new'")
    assert work(connection) == {1: "written"}
    assert vectors(connection) != [None]
    assert queued(connection) == []


def test_rewriting_that_comes_to_rest_is_fine(connection: psycopg.Connection) -> None:
    """A trigger that trims the title changes it once only."""
    make_documents(connection)
    connection.execute("""
        create function trim_title() returns trigger language plpgsql as $$
        begin new.title := trim(new.title); return new; end $$;
        create trigger trim_title before update on documents for each row execute function trim_title()
    """)
    create_pipeline(connection)
    connection.execute("insert into documents values (1, '  title ')")
    first = claim_one(connection)
    assert store(connection, [first]) == ["rewritten"]
    assert work(connection) == {1: "written"}
    assert value(connection, "select state from pgembedd.status") == "running"


@pytest.mark.parametrize("verdict", ["return null", "new.embedding := null; return new"])
def test_a_trigger_that_keeps_the_vector_out_is_a_failure(connection: psycopg.Connection, verdict: str) -> None:
    """Called done, the sweep would find the row again every minute, for ever."""
    make_documents(connection, 1)
    create_pipeline(connection, max_attempts=1)
    connection.execute(f"create function keep() returns trigger language plpgsql as $$ begin {verdict}; end $$")
    connection.execute("create trigger keep before update on documents for each row execute function keep()")
    (job,) = claim(connection, BACKFILL)
    assert store(connection, [job]) == ["refused"]
    assert vectors(connection) == [None]
    assert fail(connection, job, "write")[0] == "dead"
    assert value(connection, "select pgembedd.sweep()") == 0
