"""Plans that a session keeps for each pipeline: a change of the catalog goes through all of them, and they take memory.

A session that makes thousands of pipelines keeps none for those of empty tables; one that sweeps them, few for each.
One that is kept of a small table would scan it when it is large.
"""

from __future__ import annotations

import psycopg

from tests.support.sql import BACKFILL, claim, create_pipeline, store, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

KEPT = "select count(*) from pg_backend_memory_contexts where name = 'CachedPlanSource'"
WARM_UP = 3  # pipelines until the session has most of the plans that name none


def make_pipeline(connection: psycopg.Connection, table: str, rows: int = 0) -> None:
    connection.execute(f"create table {table} (id int primary key, title text, content text, embedding halfvec(3))")
    connection.execute(f"insert into {table} (id, title) select i, 'text' from generate_series(1, {rows}) i")
    create_pipeline(connection, pipeline=table, source=table)


def kept_by(connection: psycopg.Connection, statement: str) -> int:
    """The plans that the session keeps of a statement and did not have."""
    before = value(connection, KEPT)
    connection.execute(statement.encode())
    return int(value(connection, KEPT)) - int(before)


def test_a_session_keeps_no_plan_of_a_pipeline_that_it_makes_for_an_empty_table(
    connection: psycopg.Connection,
) -> None:
    for number in range(WARM_UP):
        make_pipeline(connection, f"warm_{number}")
    before = value(connection, KEPT)
    for number in range(5):
        make_pipeline(connection, f"empty_{number}")
    assert value(connection, KEPT) - before < 5


def test_a_sweep_keeps_few_plans_of_each_pipeline(connection: psycopg.Connection) -> None:
    for number in range(WARM_UP):
        make_pipeline(connection, f"warm_{number}")
    connection.execute("select pgembedd.sweep(), pgembedd.sweep()")
    for number in range(5):
        make_pipeline(connection, f"empty_{number}")
    assert 0 < kept_by(connection, "select pgembedd.sweep()") <= 4 * 5


def test_jobs_of_a_table_that_has_grown_are_not_worked_by_scans(connection: psycopg.Connection) -> None:
    """Until there are statistics: plans are kept of large tables alone."""
    make_pipeline(connection, "growing", rows=3)
    for number in range(8):  # a plan is kept after some calls
        connection.execute("update growing set content = %s", (str(number),))
        work(connection)
    connection.execute("insert into growing (id, content) select i, repeat('x', 1000) from generate_series(4, 6000) i")
    scanned = "select seq_tup_read from pg_stat_xact_user_tables where relname = 'growing'"
    for _ in range(3):
        jobs, before = claim(connection, BACKFILL), value(connection, scanned)
        assert store(connection, jobs) == ["written"] * 100
        assert value(connection, scanned) == before
