"""Looks at very many rows that are blank, truncated or dead: they read a part of them, and say so."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.status.test_estimates import most_seen
from tests.support.prepared import prepared
from tests.support.sql import create_pipeline, make_documents, rows
from tests.support.transaction import connection

__all__ = ["connection"]

MANY = 20_000
TABLES = {"row_state", "dead_letter"}
LOOKS = (
    "select * from pgembedd.status",
    "select * from pgembedd.metrics()",
    "select pgembedd_internal._take_sample()",
)


@prepared
def exceptional(connection: psycopg.Connection) -> None:
    """Pages with few rows: 20,000 of documents, with 50 of another pipeline behind them."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)
    create_pipeline(connection, pipeline="other", embedding_column="other_vector", backfill=False)
    for table in sorted(TABLES):
        connection.execute(f"alter table pgembedd_internal.{table} set (fillfactor = 10)".encode())
    note(connection, 1, MANY)
    note(connection, 2, 50)


def note(connection: psycopg.Connection, pipeline: int, count: int) -> None:
    """A fifth of the rows is blank, another one truncated, and the rest dead, of two reasons."""
    connection.execute(
        "insert into pgembedd_internal.row_state (pipeline_id, key, state) select %s, to_jsonb(i), "
        "(array['blank', 'truncated', 'dead', 'dead', 'dead'])[1 + i %% 5] from generate_series(1, %s) i",
        [pipeline, count],
    )
    connection.execute(
        "insert into pgembedd_internal.dead_letter "
        "(pipeline_id, queue, key, message, reason, error, attempts, enqueued_at) select %s, 'pgembedd_fresh', "
        "to_jsonb(i), '{}', (array['content', 'worker_died'])[1 + i %% 2], 'why', 5, now() "
        "from generate_series(1, %s) i",
        [pipeline, count],
    )


def counted(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return rows(connection, "select dead, blank, truncated, dead_estimated from pgembedd.status order by pipeline")


def test_few_rows_are_counted(connection: psycopg.Connection) -> None:
    make_documents(connection, 3)
    create_pipeline(connection)
    note(connection, 1, 500)
    assert counted(connection) == [(300, 100, 100, False)]
    assert rows(connection, "select dead, dead_estimated from pgembedd.metrics()") == [
        ({"content": 250, "worker_died": 250}, False)
    ]


def test_many_rows_are_estimated_and_few_beside_them_are_counted(exceptional: psycopg.Connection) -> None:
    (dead, blank, truncated, estimated), other = counted(exceptional)
    assert (dead, blank, truncated) == pytest.approx((MANY * 0.6, MANY * 0.2, MANY * 0.2), rel=0.1)
    assert estimated
    assert other == (30, 10, 10, False)


def test_dead_letters_are_estimated_by_reason(exceptional: psycopg.Connection) -> None:
    exceptional.execute(
        "insert into pgembedd_internal.dead_letter (queue, key, message, reason, error, attempts, enqueued_at) "
        "values ('pgembedd_fresh', '1', '{}', 'unknown_pipeline', 'why', 0, now())"
    )
    (many, is_estimate), other, unknown = rows(exceptional, "select dead, dead_estimated from pgembedd.metrics()")
    assert (many["content"], many["worker_died"]) == pytest.approx((MANY / 2, MANY / 2), rel=0.1)
    assert is_estimate
    assert other == ({"content": 25, "worker_died": 25}, False)
    assert unknown == ({"unknown_pipeline": 1}, False)


def test_the_last_row_of_a_kind_is_seen(exceptional: psycopg.Connection) -> None:
    exceptional.execute("delete from pgembedd_internal.row_state where pipeline_id = 1 and key > '40'")
    assert counted(exceptional)[0] == (24, 8, 8, False)


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_reads_all_of_them(exceptional: psycopg.Connection, look: str) -> None:
    exceptional.execute("analyze pgembedd_internal.row_state; analyze pgembedd_internal.dead_letter")
    assert 0 < most_seen(exceptional, look, TABLES) < MANY / 2
