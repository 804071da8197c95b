"""The jobs that a writer's statement queues, and those that it does not."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    BACKFILL,
    FRESH,
    create_pipeline,
    empty,
    make_documents,
    queued,
    state,
    value,
    vectors,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

MERGE = """
    merge into documents d using (values (1, 'x'), (2, 'title 2'), (9, 'z')) v (id, t) on v.id = d.id
    when matched then update set title = v.t when not matched then insert (id, title) values (v.id, v.t)
"""


def watched(connection: psycopg.Connection, count: int = 3, **options: Any) -> None:
    """Documents whose existing rows are not queued."""
    make_documents(connection, count)
    create_pipeline(connection, **{"backfill": False, **options})


@prepared
def three(connection: psycopg.Connection) -> None:
    """Three documents that are not queued."""
    watched(connection)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("statement", "ids"),
    [
        ("insert into documents (id) values (11), (12)", [11, 12]),
        ("insert into documents (id) select 11 where false", []),
        ("update documents set title = 'new'", [1, 2, 3]),
        ("update documents set title = 'new' where id = 2", [2]),
        ("update documents set title = 'new' where false", []),
        ("update documents set title = title", []),
        ("update documents set other = 5", []),
        ("update documents set other = 5, content = case when id = 3 then 'new' else content end", [3]),
        ("update documents set title = null where id = 1", [1]),
        ("update documents set embedding = '[1,2,3]' where id = 2", [2]),
        ("update documents set id = id + 10 where id = 1", [11]),
        ("update documents set title = 'Title 1' where id = 1", [1]),  # a change of case is a change
        ("delete from documents", []),
        ("truncate documents", []),
        ("insert into documents (id) values (1), (4) on conflict do nothing", [4]),
        (
            "insert into documents (id, title) values (1, 'x'), (4, 'x') on conflict (id) do update set title = 'x'",
            [1, 4],
        ),
        ("insert into documents (id, title) values (1, 'x') on conflict (id) do update set other = 1", []),
        (
            MERGE,
            [1, 9],
        ),
        (
            "with w as (insert into documents (id) values (7)) update documents set title = 'y' where id = 3",
            [3, 7],
        ),
    ],
)
def test_a_statement_enqueues(connection: psycopg.Connection, statement: str, ids: list[int]) -> None:
    connection.execute(statement)
    assert sorted(queued(connection)) == ids
    assert queued(connection, BACKFILL) == []


def test_copy(connection: psycopg.Connection) -> None:
    watched(connection)
    with connection.cursor().copy("copy documents (id, title) from stdin") as copy:
        for number in (7, 8):
            copy.write_row((number, "x"))
    assert queued(connection) == [7, 8]


def test_a_rolled_back_insert_leaves_no_job(connection: psycopg.Connection) -> None:
    watched(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("insert into documents values (5)")
        assert queued(connection) == [5]
    assert queued(connection) == []


def test_only_the_rest_of_a_rolled_back_savepoint_is_queued(connection: psycopg.Connection) -> None:
    watched(connection)
    with connection.transaction():
        connection.execute("insert into documents values (5)")
        with connection.transaction(force_rollback=True):
            connection.execute("insert into documents values (6)")
    assert queued(connection) == [5]


@pytest.mark.parametrize(("count", "lane"), [(1000, FRESH), (1001, BACKFILL)])
def test_over_a_thousand_rows_go_to_the_backfill_lane(connection: psycopg.Connection, count: int, lane: str) -> None:
    watched(connection, 0)
    connection.execute(f"insert into documents select i from generate_series(1, {count}) i")
    assert queued(connection, lane) == list(range(1, count + 1))
    assert len(queued(connection)) + len(queued(connection, BACKFILL)) == count
    empty(connection)
    connection.execute("update documents set title = 'new'")
    assert len(queued(connection, lane)) == count


@pytest.mark.slow
def test_single_updates_do_not_spoil_the_plan_for_a_large_one(connection: psycopg.Connection) -> None:
    """A nested loop over 20,000 times 20,000 rows would take some minutes."""
    watched(connection, 0)
    connection.execute("insert into documents (id, title) select i, 'x' from generate_series(1, 20000) i")
    empty(connection)
    for number in range(1, 31):
        connection.execute(f"update documents set title = 'y' where id = {number}")
    connection.execute("set statement_timeout = '1min'")
    connection.execute("update documents set title = 'z'")
    assert len(queued(connection, BACKFILL)) == 20_000


@pytest.mark.parametrize(("key", "join"), [("int", "Hash"), ("citext", "Merge")])
def test_nor_for_one_that_stays_in_the_fresh_lane(connection: psycopg.Connection, key: str, join: str) -> None:
    """Seen in the plan, not timed: a nested loop would compare 1,000 times 1,000 keys."""
    connection.execute("create extension citext")
    make_documents(connection, 1000, key=f"id {key} primary key")
    create_pipeline(connection, backfill=False)
    for number in range(1, 31):
        connection.execute(f"update documents set title = 'y' where id = '{number}'")
    plans: list[str] = []
    connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    connection.execute("load 'auto_explain'; set auto_explain.log_min_duration = 0; set client_min_messages = log")
    connection.execute("set auto_explain.log_nested_statements = on")
    connection.execute("update documents set title = 'z'")
    assert len(queued(connection)) == 30 + 1000
    (plan,) = [plan for plan in plans if "insert into pgmq.q_pgembedd_fresh" in plan]
    assert f"{join} " in plan.split("Insert on", 1)[1]
    assert "Nested Loop" not in plan


def test_what_a_before_trigger_changes_is_noticed_though_the_statement_does_not_name_it(
    connection: psycopg.Connection,
) -> None:
    watched(connection)
    connection.execute("""
        create function shout() returns trigger language plpgsql as $$ begin
            if new.other > 1 then new.title := upper(new.title); end if; return new; end $$;
        create trigger shout before update on documents for each row execute function shout()
    """)
    connection.execute("update documents set other = 1")
    assert queued(connection) == []
    connection.execute("update documents set other = id")
    assert sorted(queued(connection)) == [2, 3]
    empty(connection)
    connection.execute("update documents set other = 5 where id = 1")
    assert queued(connection) == [1]


def test_the_writers_settings_are_left_as_they_were(connection: psycopg.Connection) -> None:
    watched(connection)
    for before in ("on", "off"):
        connection.execute(f"set enable_nestloop = {before}")
        with connection.transaction():
            for statement in ("update documents set title = title || 'x'", "update documents set other = 1"):
                connection.execute(statement)
                assert value(connection, "select current_setting('enable_nestloop')") == before
            connection.execute("select pgmq.drop_queue('pgembedd_fresh')")
            connection.execute("update documents set title = 'y'")
            assert value(connection, "select current_setting('enable_nestloop')") == before
            connection.execute("select pgmq.create('pgembedd_fresh')")
        assert value(connection, "select current_setting('enable_nestloop')") == before


def test_our_own_store_enqueues_nothing(connection: psycopg.Connection) -> None:
    watched(connection)
    connection.execute("update documents set title = 'new'")
    assert set(work(connection).values()) == {"written"}
    assert queued(connection) == queued(connection, BACKFILL) == []


def test_a_users_trigger_during_our_store_still_counts(connection: psycopg.Connection) -> None:
    watched(connection)
    connection.execute("""
        create function touch_next() returns trigger language plpgsql as $$ begin
            update documents set content = 'touched' where id = new.id + 1; return null; end $$;
        create trigger touch_next after update of embedding on documents for each row
            when (old.embedding is null) execute function touch_next();
        update documents set title = 'new' where id = 1;
    """)
    work(connection, [FRESH])
    assert [vector is not None for vector in vectors(connection)] == [True, True, True]  # 1 touched 2 touched 3


def test_the_message_is_a_pointer(connection: psycopg.Connection) -> None:
    watched(connection)
    connection.execute("insert into documents values (5, 'secret', 'secret')")
    message = value(connection, "select message from pgmq.q_pgembedd_fresh")
    assert message == {"id": 5, "pipeline": 1}


def test_a_missing_queue_does_not_stop_a_writer(connection: psycopg.Connection) -> None:
    watched(connection, 0)
    connection.execute("insert into documents values (1)")  # so that the session has its plans
    for queue in (FRESH, BACKFILL):
        connection.execute("select pgmq.drop_queue(%s)", [queue])
    connection.execute("insert into documents values (2)")
    connection.execute("insert into documents select i from generate_series(3, 2000) i")
    connection.execute("update documents set title = 'new'")
    assert value(connection, "select count(*) from documents") == 2000
    assert state(connection) == "running"


def test_notify_only_while_a_worker_sleeps(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    watched(connection, 0)
    other.execute("listen pgembedd")

    def heard() -> list[str]:
        other.execute("select 1")
        return [notice.payload for notice in other.notifies(timeout=0)]

    connection.execute("insert into documents values (1)")
    assert heard() == []
    connection.execute("select pgembedd_internal.set_idle(true)")
    connection.execute("insert into documents values (2)")
    assert heard() == [FRESH]
    connection.execute("insert into documents select i from generate_series(3, 1003) i")
    assert heard() == [BACKFILL]
    connection.execute("update documents set other = 1 where id < 3")  # no job, no worker to wake
    assert heard() == []
    connection.execute("update documents set title = 'new' where id = 1")
    assert heard() == [FRESH]
    connection.execute("select pgembedd_internal.set_idle(false)")
    connection.execute("insert into documents values (2000)")
    connection.execute("insert into documents select i from generate_series(2001, 3001) i")
    assert heard() == []
