"""metrics(): what a monitor is told of every pipeline, by a role that may read no table."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    create_pipeline,
    fail,
    make_documents,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]


def told(connection: psycopg.Connection) -> dict[str | None, dict[str, Any]]:
    """By pipeline."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return {row["pipeline"]: row for row in cursor.execute("select * from pgembedd.metrics()").fetchall()}


@prepared
def documents(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    create_pipeline(connection)  # its backfill is queued


def test_a_database_without_pipelines_has_nothing_to_tell(connection: psycopg.Connection) -> None:
    assert told(connection) == {}


def test_each_lane_has_its_number_and_its_age(documents: psycopg.Connection) -> None:
    documents.execute("update pgmq.q_pgembedd_backfill set enqueued_at = now() - interval '1 hour'")
    documents.execute("update pgembedd_internal.pipeline set state_since = now() - interval '1 hour'")
    documents.execute("insert into documents values (4, 'title', 'content'), (5, 'title', 'content')")
    line = told(documents)["documents"]

    assert (line["state"], line["queued_fresh"], line["queued_backfill"], line["failing"]) == ("stalled", 2, 3, 0)
    assert line["queued"] == 5
    assert 0 <= line["oldest_age_fresh_s"] < 3000 < 3600 <= line["oldest_age_backfill_s"]
    assert (line["dead"], line["blank"], line["truncated"], line["rows_per_minute"]) == ({}, 0, 0, 0)


def test_what_was_done_and_what_failed_is_counted(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'title', 'content'), (5, 'title', 'content')")
    again, never = claim(documents)
    fail(documents, again)
    fail(documents, never, "model", permanent=True)
    documents.execute("update documents set title = null, content = ' ' where id = 3")
    documents.execute("delete from pgmq.q_pgembedd_fresh where message ->> 'id' = '3'")
    work(documents, [BACKFILL])
    line = told(documents)["documents"]

    assert (line["queued"], line["queued_fresh"], line["failing"]) == (1, 1, 1)
    assert (line["queued_backfill"], line["oldest_age_backfill_s"]) == (0, None)
    assert (line["dead"], line["blank"]) == ({"model": 1}, 1)
    assert line["rows_per_minute"] == pytest.approx(3 * 6)


def test_messages_that_belong_to_nobody_have_a_line_without_a_name(documents: psycopg.Connection) -> None:
    documents.execute("""insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), '{"id": 1, "table": "x"}')""")
    line = told(documents)[None]
    assert (line["state"], line["queued"]) == (None, 1)

    assert claim(documents) == []
    line = told(documents)[None]
    assert (line["queued"], line["dead"]) == (0, {"unknown_pipeline": 1})


def test_a_pipeline_that_does_not_run_says_so(documents: psycopg.Connection) -> None:
    call(documents, "pause", pipeline="documents")

    assert told(documents)["documents"]["state"] == "paused"


def test_a_worker_of_least_privilege_may_ask(roles: Roles, database: Database, documents: psycopg.Connection) -> None:
    worker = roles.make("embedder")
    documents.execute(f"select pgembedd.grant_worker('{worker}')")
    with connect_as(database, worker) as connection:
        assert told(connection)["documents"]["queued_backfill"] == 3
