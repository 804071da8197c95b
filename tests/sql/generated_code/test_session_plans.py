"""Plans that a session keeps for each pipeline: a change of the catalog goes through all of them, and they take memory.

A session that makes thousands of pipelines keeps none for those of empty tables; one that sweeps them, few for each.
"""

from __future__ import annotations

import psycopg

from tests.support.sql import create_pipeline, value
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
