"""A store waits neither for the other queue nor for what other pipelines have left."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import BACKFILL, FRESH, Job, claim, create_pipeline, make_documents, rows, store


@pytest.fixture(autouse=True)
def documents(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)


def insert_and_claim(connection: psycopg.Connection, number: int, queue: str = FRESH) -> list[Job]:
    connection.execute("insert into documents (id, content) values (%s, 'text')", (number,))
    if queue == BACKFILL:
        moved = "with moved as (delete from pgmq.q_pgembedd_fresh returning vt, message)"
        connection.execute(f"{moved} insert into pgmq.q_pgembedd_backfill (vt, message) select * from moved")
    return claim(connection, queue)


@pytest.mark.parametrize(("queue", "locked"), [(FRESH, BACKFILL), (BACKFILL, FRESH)])
@pytest.mark.parametrize("mode", ["share", "access exclusive"])
def test_a_lock_on_one_queue_does_not_hold_up_the_other(
    connection: psycopg.Connection, other: psycopg.Connection, queue: str, locked: str, mode: str
) -> None:
    """As REINDEX and VACUUM FULL take; with the plans of the session kept, and without."""
    for number in range(2):
        jobs = insert_and_claim(connection, number, queue)
        with other.transaction():
            other.execute(f"lock table pgmq.q_{locked} in {mode} mode")
            assert store(connection, jobs) == ["written"]


def test_a_store_scans_no_exceptions_of_another_pipeline(connection: psycopg.Connection) -> None:
    """Where all of them are of one pipeline, the planner expects any other to have as many."""
    connection.execute("create table pages (id int primary key, content text)")
    create_pipeline(connection, pipeline="pages", source="pages", content_columns=["content"])
    pages = "select p.id, to_jsonb(i) from pgembedd_internal.pipeline p, generate_series(1, 5000) i"
    connection.execute(
        "insert into pgembedd_internal.row_state (pipeline_id, key, state)"
        f" select s.*, 'blank' from ({pages} where p.name = 'pages') s"
    )
    connection.execute(
        "insert into pgembedd_internal.dead_letter (pipeline_id, key, queue, message, reason, attempts, enqueued_at)"
        f" select s.*, 'pgembedd_fresh', '{{}}', 'content', 1, now() from ({pages} where p.name = 'pages') s"
    )
    connection.execute("vacuum analyze pgembedd_internal.row_state, pgembedd_internal.dead_letter")
    for number in range(8):  # a plan is kept after some calls
        jobs = insert_and_claim(connection, number)
        with connection.transaction():
            before = scanned(connection)
            assert store(connection, jobs) == ["written"]
            assert scanned(connection) == before


def scanned(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return rows(
        connection,
        "select relname, seq_tup_read from pg_stat_xact_all_tables"
        " where relname in ('row_state', 'dead_letter') order by relname",
    )
