"""Looks at a long queue: they read a part of it, and say so."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import psycopg
import pytest

from tests.sql.queue.test_plans import nodes_of, rows_seen
from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, FRESH, claim, create_pipeline, fail, make_documents, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

LONG = 20_000
LOOKS = (
    "select * from pgembedd.status",
    "select * from pgembedd.metrics()",
    "select pgembedd.demand()",
    "select * from pgembedd_internal.due()",
    "select * from pgembedd_internal.claim(1, 'pgembedd_backfill', 64, 60)",
    "select pgembedd_internal._take_sample()",
)


@prepared
def long(connection: psycopg.Connection) -> None:
    """A queue of pages with few messages: 20,000 of documents, with 50 of another pipeline behind them."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)
    create_pipeline(connection, pipeline="other", embedding_column="other_vector", backfill=False)
    connection.execute(f"alter table pgmq.q_{BACKFILL} set (fillfactor = 10)")
    queue(connection, 1, LONG)
    queue(connection, 2, 50)


def queue(connection: psycopg.Connection, pipeline: int, jobs: int) -> None:
    connection.execute(
        f"insert into pgmq.q_{BACKFILL} (vt, message) select clock_timestamp(), "
        "jsonb_build_object('id', i, 'pipeline', %s::int) from generate_series(1, %s) i",
        [pipeline, jobs],
    )


def counted(connection: psycopg.Connection) -> dict[str, tuple[int, bool]]:
    """What is queued, by pipeline, and whether it is an estimate; both surfaces say the same."""
    columns = "select pipeline, queued, queued_estimated from"
    found = rows(connection, f"{columns} pgembedd.status order by 1")
    assert found == rows(connection, f"{columns} pgembedd.metrics() order by 1")
    return {pipeline: (queued, estimated) for pipeline, queued, estimated in found}


def test_a_short_queue_is_counted(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    create_pipeline(connection)
    queue(connection, 1, 5000)
    assert counted(connection) == {"documents": (5003, False)}


def test_of_a_long_queue_many_jobs_are_estimated_and_few_are_counted(long: psycopg.Connection) -> None:
    found = counted(long)
    assert found["other"] == (50, False)
    assert found["documents"][1]
    assert found["documents"][0] == pytest.approx(LONG, rel=0.1)
    assert value(long, "select pgembedd.demand('other')") == pytest.approx(5)
    assert value(long, "select pgembedd.demand('documents')") == pytest.approx(LONG / 10, rel=0.1)


def test_jobs_of_both_lanes_are_added_up(long: psycopg.Connection) -> None:
    long.execute("update documents set title = 'another'")
    assert counted(long)["other"] == (53, False)
    assert rows(long, "select queued_fresh from pgembedd.status") == [(3,), (3,)]


def test_leased_and_failed_jobs_of_a_long_queue_are_seen(long: psycopg.Connection) -> None:
    jobs = claim(long, BACKFILL, 10, pipeline=1)
    for job in jobs[:4]:
        fail(long, job)
    found = rows(
        long, "select failing, leased from pgembedd_internal._queued() where lane = 'backfill' and pipeline_id = 1"
    )
    assert found == [(4, 6)]


def test_the_oldest_job_of_a_long_queue_is_found(long: psycopg.Connection) -> None:
    long.execute(
        f"update pgmq.q_{BACKFILL} set enqueued_at = now() - interval '1 day', vt = now() - interval '1 day'"
        ' where message = \'{"id": 7777, "pipeline": 1}\''
    )
    assert value(long, "select oldest_age > interval '23 hours' from pgembedd.status where pipeline = 'documents'")


def test_no_job_is_taken_for_one_after_a_long_queue_was_worked(long: psycopg.Connection) -> None:
    long.execute(f"delete from pgmq.q_{BACKFILL}")
    queue(long, 2, 1)
    assert counted(long) == {"documents": (0, False), "other": (1, False)}


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_reads_all_of_a_long_queue(long: psycopg.Connection, look: str) -> None:
    assert 0 < most_seen(long, look) < LONG / 2


@pytest.mark.slow
def test_a_million_jobs_cost_no_more_than_a_hundred_thousand(long: psycopg.Connection) -> None:
    long.execute(f"truncate pgmq.q_{BACKFILL}; alter table pgmq.q_{BACKFILL} reset (fillfactor)")
    queue(long, 1, 100_000)
    before = {look: most_seen(long, look) for look in LOOKS}
    queue(long, 1, 900_000)
    assert counted(long)["documents"][0] == pytest.approx(1_000_000, rel=0.1)
    assert {look for look in LOOKS if most_seen(long, look) > 1.3 * before[look]} == set()


def most_seen(
    connection: psycopg.Connection, look: str, tables: Collection[str] = (f"q_{FRESH}", f"q_{BACKFILL}")
) -> float:
    """The most rows of these tables that a node of a plan of the look has read."""
    plans: list[str] = []

    def note(notice: Any) -> None:
        plans.append(notice.message_primary or "")

    connection.add_notice_handler(note)
    with connection.transaction(force_rollback=True):
        connection.execute(
            "load 'auto_explain'; set local auto_explain.log_level = notice; set local auto_explain.log_analyze = on; "
            "set local auto_explain.log_min_duration = 0; set local auto_explain.log_nested_statements = on; "
            "set local auto_explain.log_format = json; set local auto_explain.log_timing = off; "
            "set local client_min_messages = notice"
        )
        connection.execute(look.encode())
    connection.remove_notice_handler(note)
    seen = [node for plan in plans if "plan:" in plan for node in nodes_of(json.loads(plan.partition("plan:")[2]))]
    return max(rows_seen(node) for node in seen if node.get("Relation Name") in tables)
