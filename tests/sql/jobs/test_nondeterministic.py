"""Content that is never twice the same is given up; a row that is only busy is not."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.sql import (
    claim,
    create_pipeline,
    empty,
    let_leases_run_out,
    make_documents,
    read,
    rows,
    store,
    value,
)

DESTINATIONS = pytest.mark.parametrize("options", [{}, {"embedding_table": "chunks"}], ids=["column", "table"])


def rounds(connection: psycopg.Connection, between: str, times: int) -> list[str]:
    """Outcomes of up to `times` attempts on the oldest job, with a statement between reading and writing."""
    outcomes: list[str] = []
    while len(outcomes) < times and (jobs := claim(connection, size=1)):
        contents = read(connection, jobs)
        connection.execute(between)
        outcomes += store(connection, jobs, contents)
        connection.execute("delete from pgmq.q_pgembedd_fresh where msg_id > %s", [jobs[0].msg_id])
        let_leases_run_out(connection)
    return outcomes


def prepared(connection: psycopg.Connection, body: str, options: dict[str, Any]) -> None:
    make_documents(connection)
    connection.execute(f"create function inp(documents) returns text language sql as $$ select {body} $$")
    create_pipeline(connection, content_function="inp", **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute("insert into documents values (1, 'title', 'content')")


@pytest.mark.slow
@DESTINATIONS
def test_content_that_is_never_twice_the_same_is_given_up(
    connection: psycopg.Connection, options: dict[str, Any]
) -> None:
    prepared(connection, "$1.title || clock_timestamp()", options)
    assert rounds(connection, "select", 30) == ["changed"] * 20
    assert rows(connection, "select key, reason, attempts from pgembedd.dead_letters") == [(1, "unsteady_content", 0)]
    assert "must not hold the time" in value(connection, "select error from pgembedd.dead_letters")
    connection.execute("select pgembedd.sweep()")
    assert claim(connection, "pgembedd_backfill") == []
    assert value(connection, "select state from pgembedd.status") == "running"


@pytest.mark.slow
@DESTINATIONS
def test_a_busy_row_is_not_given_up(connection: psycopg.Connection, options: dict[str, Any]) -> None:
    prepared(connection, "$1.title", options)
    assert rounds(connection, "update documents set title = gen_random_uuid()", 30) == ["changed"] * 30
    assert rounds(connection, "select", 1) == ["written"]
    assert rows(connection, "select * from pgembedd.dead_letters") == []


def test_only_content_of_a_row_that_stays_as_it_was_is_given_up(connection: psycopg.Connection) -> None:
    """The short form of both: the message is made to look as after nineteen rounds."""
    prepared(connection, "$1.title || clock_timestamp()", {})
    assert rounds(connection, "select", 5) == ["changed"] * 5
    for between, given_up in (("update documents set title = title || '!'", []), ("select", [(1, "unsteady_content")])):
        connection.execute("update pgmq.q_pgembedd_fresh set message = jsonb_set(message, '{pgembedd,same}', '15')")
        assert rounds(connection, between, 1) == ["changed"]
        assert rows(connection, "select key, reason from pgembedd.dead_letters") == given_up


@pytest.mark.slow
def test_the_rounds_span_minutes(connection: psycopg.Connection) -> None:
    prepared(connection, "$1.title || clock_timestamp()", {})
    waited = 0.0
    for _ in range(19):
        jobs = claim(connection, size=1)
        assert store(connection, jobs) == ["changed"]
        waited += float(
            value(connection, "select extract(epoch from vt - clock_timestamp()) from pgmq.q_pgembedd_fresh")
        )
        let_leases_run_out(connection)
    assert waited > 300
    empty(connection)
