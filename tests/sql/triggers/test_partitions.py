"""Partitioned tables: rows count once, whichever table a statement names."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.lock_timeouts import lock_timeouts_before
from tests.support.sql import BACKFILL, call, create_pipeline, queued, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.fixture
def partitioned(connection: psycopg.Connection) -> psycopg.Connection:
    """`documents`, partitioned by id: 0 to 10, 10 to 20, and 20 to 30 partitioned once more."""
    connection.execute("""
        create table documents (id int primary key, title text, content text) partition by range (id);
        create table low partition of documents for values from (0) to (10);
        create table middle (content text, junk int, id int not null, title text);
        alter table middle drop junk;
        alter table documents attach partition middle for values from (10) to (20);
        create table high partition of documents for values from (20) to (30) partition by range (id);
        create table "High 1" partition of high for values from (20) to (25);
    """)
    return connection


@pytest.mark.parametrize("table", ["documents", "high", '"High 1"'])
@pytest.mark.parametrize("on_update", ["keep", "clear"])
def test_any_level_enqueues_once(partitioned: psycopg.Connection, table: str, on_update: str) -> None:
    create_pipeline(partitioned, on_update=on_update, index_type="hnsw")
    partitioned.execute(f"insert into {table} (id, title) values (20, 'x'), (21, 'y')")
    assert queued(partitioned) == [20, 21]
    assert set(work(partitioned).values()) == {"written"}
    partitioned.execute(f"update {table} set title = 'z' where id = 20")
    assert queued(partitioned) == [20]
    assert value(partitioned, "select embedding is null from documents where id = 20") == (on_update == "clear")
    assert work(partitioned) == {20: "written"}
    assert queued(partitioned) == []


def test_a_leaf_with_its_columns_in_another_order(partitioned: psycopg.Connection) -> None:
    create_pipeline(partitioned)
    partitioned.execute("insert into documents (id, title) values (1, 'x'), (11, 'y')")
    partitioned.execute("insert into middle (id, title) values (12, 'y')")
    partitioned.execute("insert into low (id, title) values (2, 'y')")
    partitioned.execute("update middle set title = 'z'")
    partitioned.execute("update documents set content = 'z' where id < 12")
    assert sorted(queued(partitioned)) == [1, 1, 2, 2, 11, 11, 11, 12, 12]
    assert set(work(partitioned).values()) == {"written"}


def test_a_row_that_moves_to_another_partition(partitioned: psycopg.Connection) -> None:
    create_pipeline(partitioned)
    partitioned.execute("insert into documents (id, title) values (1, 'x')")
    work(partitioned)
    partitioned.execute("update documents set id = 11")
    assert 11 in queued(partitioned)
    assert work(partitioned)[11] == "unchanged"


def test_existing_rows_of_all_partitions_are_queued(partitioned: psycopg.Connection) -> None:
    partitioned.execute("insert into documents (id, title) values (1, 'x'), (11, 'y'), (20, 'z')")
    assert create_pipeline(partitioned) == 3
    assert sorted(queued(partitioned, BACKFILL)) == [1, 11, 20]


@pytest.mark.parametrize("kept", [[], ["insert"], ["update"]])
def test_the_sweep_picks_up_a_partition_attached_later(partitioned: psycopg.Connection, kept: list[str]) -> None:
    create_pipeline(partitioned)
    partitioned.execute("create table late (id int primary key, title text, content text, embedding halfvec(3))")
    partitioned.execute("insert into late (id, title) values (30, 'x')")
    partitioned.execute("alter table documents attach partition late for values from (30) to (40)")
    partitioned.execute("insert into late (id, title) values (31, 'x')")
    assert queued(partitioned) == []
    assert value(partitioned, "select pgembedd.sweep()") == 2
    for event in {"insert", "update"} - set(kept):  # and where one of its triggers is lost again
        partitioned.execute(f"drop trigger pgembedd_1_{event} on late")
    partitioned.execute("select pgembedd.sweep()")
    partitioned.execute("insert into late (id, title) values (32, 'x')")
    partitioned.execute("update late set title = 'y' where id = 30")
    assert queued(partitioned) == [32, 30]


def test_the_sweep_does_not_wait_long_for_a_new_partition(
    partitioned: psycopg.Connection, other: psycopg.Connection
) -> None:
    """Every writer of that partition would stand in line behind it."""
    create_pipeline(partitioned)
    partitioned.execute("create table late partition of documents for values from (30) to (40)")
    partitioned.execute("create table letters (id int primary key, title text)")
    create_pipeline(partitioned, pipeline="letters", source="letters", content_columns=["title"], backfill=False)
    with other.transaction(), lock_timeouts_before(partitioned, "CREATE TRIGGER") as timeouts:
        other.execute("insert into late (id, title) values (30, 'x')")
        partitioned.execute("select pgembedd.sweep()")
    assert timeouts == ["100ms"], "for other locks it is 2 s"
    assert rows(partitioned, "select state from pgembedd_internal.pipeline") == [("running",)] * 2
    assert value(partitioned, "select pgembedd.sweep()") == 1


def test_drop_pipeline_takes_the_triggers_of_partitions_along(partitioned: psycopg.Connection) -> None:
    create_pipeline(partitioned, on_update="clear")
    partitioned.execute("alter table documents detach partition low")
    call(partitioned, "drop_pipeline", pipeline="documents")
    assert rows(partitioned, "select tgname from pg_trigger where tgname like 'pgembedd%%'") == []


def test_the_sweep_lets_go_of_a_detached_partition(partitioned: psycopg.Connection) -> None:
    create_pipeline(partitioned, embedding_table="chunks")
    partitioned.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    partitioned.execute("insert into documents (id, title) values (1, 'x'), (11, 'y')")
    work(partitioned)
    partitioned.execute("alter table documents detach partition low")
    partitioned.execute("select pgembedd.sweep()")
    assert rows(partitioned, "select id from chunks") == [(11,)]
    partitioned.execute("update low set title = 'x2'; delete from low; truncate low; insert into low (id) values (2)")
    assert queued(partitioned) == []
    partitioned.execute("alter table documents attach partition low for values from (0) to (10)")
    assert value(partitioned, "select pgembedd.sweep()") == 1
    partitioned.execute("update low set title = 'x3'")
    assert queued(partitioned) == [2]


def test_a_detached_partition_does_no_harm(partitioned: psycopg.Connection) -> None:
    create_pipeline(partitioned)
    partitioned.execute("alter table documents detach partition low")
    partitioned.execute("insert into low (id, title) values (1, 'x')")
    assert set(work(partitioned).values()) <= {"gone"}
    assert value(partitioned, "select count(*) from pgembedd_internal.dead_letter") == 0


def test_a_partition_that_is_attached_and_swept_at_once_misses_nothing(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text) partition by range (id)")
    create_pipeline(connection, embedding_table="chunks")
    connection.execute("create table late (like documents including all)")
    with connection.transaction():
        connection.execute("alter table documents attach partition late for values from (0) to (9)")
        connection.execute("select pgembedd.sweep(0)")
    connection.execute("insert into late values (1, 'a', 'b')")
    assert queued(connection) == [1]
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    connection.execute("delete from late")
    assert value(connection, "select count(*) from chunks") == 0
