"""A backfill of more than 100,000 rows queues them in parts, in the order of the key, each row once."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgembedd.database.queries import query
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.sql import BACKFILL, column, connected, create_pipeline, make_documents, rows, value

__all__ = ["large"]

ROWS, AT_ONCE, PART = 120_005, 100_000, 10_000

OPEN = "select scope, after, rows_left from pgembedd_internal.open_backfill"


@prepared
def large(connection: psycopg.Connection) -> None:
    """A table of which a part is queued, and the statistics of an ANALYZE."""
    make_documents(connection, ROWS)
    connection.execute("analyze documents")
    create_pipeline(connection, text_config="none")


def more(connection: psycopg.Connection) -> int:
    """Has more of the backfill of `documents` queued, as a worker has it that found nothing to claim."""
    (number,) = column(connection, "select id from pgembedd_internal.pipeline where name = 'documents'")
    row = connection.execute(query("continue_backfill"), {"pipeline_id": number}).fetchone()
    assert row is not None
    return int(row[0])


def take(connection: psycopg.Connection) -> list[Any]:
    """The keys that are queued, in order; the queue is empty then, as after their stores."""
    return column(
        connection,
        f"with q as (delete from pgmq.q_{BACKFILL} returning msg_id, message -> 'id' as id) "
        "select id from q order by msg_id",
    )


def forget_jobs(connection: psycopg.Connection) -> None:
    """The queue is empty then, as after the stores of 100,000 rows, and in a hundredth of the time of take()."""
    connection.execute(f"truncate pgmq.q_{BACKFILL}")


def finish(connection: psycopg.Connection) -> list[Any]:
    """All keys that are queued until the end of the backfill, in order."""
    keys = take(connection)
    while more(connection):
        assert value(connection, f"select count(*) from pgmq.q_{BACKFILL}") <= PART
        keys += take(connection)
    assert rows(connection, OPEN) == []
    return keys


def test_every_row_is_queued_once_and_in_parts(large: psycopg.Connection) -> None:
    assert rows(large, OPEN) == [("lacking", AT_ONCE, ROWS - AT_ONCE)]
    assert value(large, f"select count(*) from pgmq.q_{BACKFILL}") == AT_ONCE
    assert finish(large) == list(range(1, ROWS + 1))


def test_no_more_is_queued_than_makes_sense(large: psycopg.Connection) -> None:
    assert more(large) == 0
    assert rows(large, OPEN) == [("lacking", AT_ONCE, ROWS - AT_ONCE)]


def test_the_call_returns_an_estimate_and_says_so(connection: psycopg.Connection) -> None:
    make_documents(connection, ROWS)
    connection.execute("analyze documents")
    said: list[str | None] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    assert create_pipeline(connection, text_config="none") == pytest.approx(ROWS, rel=0.02)
    assert str(said[-1]).startswith("About 120")
    assert value(connection, "select pgembedd.backfill('documents')") == pytest.approx(ROWS - AT_ONCE, rel=0.3)


def test_what_is_not_queued_yet_is_known(large: psycopg.Connection) -> None:
    status = "select queued, queued_backfill, queued_estimated, coverage from pgembedd.status"
    (figures,) = rows(large, status)
    assert figures[0] == figures[1] == pytest.approx(ROWS, rel=0.3)
    assert figures[2:] == (True, 0)
    forget_jobs(large)
    assert rows(large, status) == [(ROWS - AT_ONCE, ROWS - AT_ONCE, True, 0)]
    assert value(large, "select pgembedd.demand('documents')") == pytest.approx((ROWS - AT_ONCE) * 0.1)
    assert rows(large, "select queue from pgembedd_internal.due()") == [(BACKFILL,)]
    assert not value(large, "select pgembedd_internal._backfilled(p) from pgembedd_internal.pipeline p")
    look = "select noted from pgembedd_internal._look_at('documents', '{120000}', %s)"
    assert [value(large, look, with_queues) for with_queues in (False, True)] == [None, "queued"]
    finish(large)
    assert rows(large, "select queue from pgembedd_internal.due()") == []
    assert value(large, look, True) is None


def test_a_wait_does_not_end_before_the_backfill(large: psycopg.Connection) -> None:
    forget_jobs(large)
    with pytest.raises(psycopg.errors.QueryCanceled, match='"documents" still has 20005 jobs waiting'):
        large.execute("call pgembedd.wait_for_pipeline('documents', '0.1 s')")
    with pytest.raises(psycopg.errors.QueryCanceled, match=r"The row 120000 .* still waits"):
        large.execute("call pgembedd.wait_for_row('documents', '120000', '0.1 s')")


def test_rows_that_have_a_vector_are_passed_over(large: psycopg.Connection) -> None:
    forget_jobs(large)
    large.execute("set session_replication_role = replica")
    large.execute("update documents set embedding = '[1,2,3]' where id between 100001 and 119999")
    large.execute("set session_replication_role = origin")
    assert more(large) == 1
    assert finish(large) == list(range(120_000, ROWS + 1))


def test_blank_and_dead_rows_and_those_that_are_queued_are_left_out(large: psycopg.Connection) -> None:
    forget_jobs(large)
    large.execute(
        "insert into pgembedd_internal.row_state (pipeline_id, key, state) "
        "select p.id, s.key, s.state from pgembedd_internal.pipeline p, "
        "(values ('100001'::jsonb, 'blank'), ('100002', 'dead'), ('100003', 'truncated')) as s(key, state)"
    )
    large.execute("update documents set title = 'another' where id = 100004")
    assert finish(large)[:3] == [100003, 100005, 100006]


def test_the_sweep_goes_on_with_it_and_queues_nothing_twice(large: psycopg.Connection) -> None:
    forget_jobs(large)
    assert value(large, "select pgembedd.sweep()") == PART
    assert take(large) == list(range(AT_ONCE + 1, AT_ONCE + PART + 1))
    large.execute("update pgembedd_internal.pipeline set sweep_due_at = '-infinity'")
    assert value(large, "select pgembedd.sweep()") == PART


def test_a_pipeline_that_is_paused_or_dropped_queues_none(large: psycopg.Connection) -> None:
    forget_jobs(large)
    large.execute("select pgembedd.pause('documents')")
    assert (more(large), rows(large, "select queue from pgembedd_internal.due()")) == (0, [])
    large.execute("select pgembedd.resume('documents')")
    assert more(large) == PART
    large.execute("select pgembedd.drop_pipeline('documents')")
    assert (rows(large, OPEN), take(large)) == ([], [])


def test_force_begins_again_and_less_than_that_does_not(large: psycopg.Connection) -> None:
    forget_jobs(large)
    large.execute("select pgembedd.backfill('documents', force => true)")
    assert rows(large, OPEN)[0][:2] == ("anew", AT_ONCE)
    forget_jobs(large)
    large.execute("select pgembedd.backfill('documents')")
    assert rows(large, OPEN) == []
    assert take(large) == list(range(AT_ONCE + 1, ROWS + 1))


def test_with_force_the_chunks_of_the_rows_that_are_queued_are_made_anew(connection: psycopg.Connection) -> None:
    make_documents(connection, 10_002)
    create_pipeline(connection, embedding_table="chunks", backfill=False, text_config="none")
    connection.execute(
        "insert into chunks (id, chunk_index, chunk, embedding, content_hash, model, tokens, tokens_kept, "
        "start_offset, end_offset) select id, 0, 'chunk', '[1,2,3]', 'hash', 'model', 1, 1, 0, 5 from documents"
    )
    stale = "select count(*) from chunks where content_hash = ''"
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope) select id, 'anew' "
        "from pgembedd_internal.pipeline"
    )
    assert (more(connection), value(connection, stale)) == (PART, PART)
    assert (more(connection), value(connection, stale)) == (2, PART + 2)


def test_a_table_that_is_locked_is_left_for_later(database: Database, large: psycopg.Connection) -> None:
    forget_jobs(large)
    with connected(database) as other, other.transaction():
        other.execute("lock table documents in access exclusive mode")
        assert more(large) == 0
    assert more(large) == PART


def test_two_workers_do_not_queue_the_same_rows(database: Database, large: psycopg.Connection) -> None:
    forget_jobs(large)
    with connected(database) as other:
        with large.transaction():
            assert more(large) == PART
            assert more(other) == 0  # at once, as the other one has not committed
        assert more(other) == PART
    assert take(large) == list(range(AT_ONCE + 1, AT_ONCE + 2 * PART + 1))


def test_after_a_change_of_the_key_it_begins_again(large: psycopg.Connection) -> None:
    forget_jobs(large)
    large.execute("alter table documents alter id type text")
    large.execute("update pgembedd_internal.pipeline set content_shape = null")  # that alone is the test's subject
    large.execute("select pgembedd_internal._follow(p) from pgembedd_internal.pipeline p")
    assert sorted(map(int, finish(large))) == list(range(1, ROWS + 1))


KEYS = {
    "uuid": "id uuid default gen_random_uuid()",
    "text": 'id text collate "C" default md5(random()::text)',
    "numeric": "id numeric default random()",
    "float": "id double precision default random() * 1e9",
    "time": "id timestamptz default clock_timestamp() + random() * interval '1 year'",
    "bytes": "id bytea default sha256(random()::text::bytea)",
    "range": "id int4range default int4range((nextval('numbers') * 7919 % 1000003)::int, 2000000000)",
    "json": "id jsonb default jsonb_build_array(random())",
    "domain": "id whole default nextval('numbers')",
    "composite": "a int default random() * 3, id text default md5(random()::text)",
    "of two schemas": "a extra.citext default (random() * 300)::int::text, id uuid default gen_random_uuid()",
    "quoted": '"{source} Key" int default random() * 3, id bigint generated always as identity',
}


@pytest.mark.parametrize("key", KEYS)
def test_each_kind_of_key_has_its_order(connection: psycopg.Connection, key: str) -> None:
    connection.execute(
        "create schema extra; create extension citext schema extra; create domain whole as int; create sequence numbers"
    )
    columns = ("a, " if KEYS[key].startswith("a ") else '"{source} Key", ' if key == "quoted" else "") + "id"
    connection.execute(
        f"create table documents ({KEYS[key]}, title text, content text, primary key ({columns}))".encode()
    )
    connection.execute("insert into documents (title) select 'title ' || i from generate_series(1, 10500) i")
    create_pipeline(connection, backfill=False, text_config="none")
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope) select id, 'lacking' "
        "from pgembedd_internal.pipeline"
    )
    key_json = value(connection, "select pgembedd_internal._key_json('documents', 's')")
    found = [row[0] for row in connection.execute(f"select {key_json} from documents s".encode())]
    keys = []
    for expected in (PART, 500):
        assert more(connection) == expected
        keys += take(connection)
    assert rows(connection, OPEN) == []
    assert len(keys) == len(found) == 10500
    assert {repr(one) for one in keys} == {repr(one) for one in found}


def plans_of_a_part(connection: psycopg.Connection) -> str:
    """Has the next part queued, and returns the plan by which its rows were read."""
    connection.execute(
        "load 'auto_explain'; set auto_explain.log_level = notice; set auto_explain.log_min_duration = 0; "
        "set auto_explain.log_nested_statements = on; set auto_explain.log_format = text; "
        "set auto_explain.log_analyze = on; set auto_explain.log_timing = off; "
        "set client_min_messages = notice"
    )
    take(connection)
    plans: list[str] = []
    connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    assert more(connection) == PART
    (plan,) = [plan for plan in plans if "array_agg" in plan and "documents" in plan]
    return plan


def test_a_part_reads_no_more_than_its_rows(large: psycopg.Connection) -> None:
    plan = plans_of_a_part(large)
    assert "Index Scan using documents_pkey" in plan
    assert "Sort" not in plan


def test_a_part_of_one_large_tenant_begins_where_the_last_one_ended(connection: psycopg.Connection) -> None:
    connection.execute(
        "create table documents (tenant int, id int, title text, content text, primary key (tenant, id))"
    )
    connection.execute("insert into documents select 1, i, 'title' from generate_series(1, 60000) i")
    connection.execute("analyze documents")
    create_pipeline(connection, backfill=False, text_config="none")
    connection.execute(
        "insert into pgembedd_internal.open_backfill (pipeline_id, scope, after, key_shape) "
        """select id, 'lacking', '{"tenant": 1, "id": 40000}', pgembedd_internal._key_shape(source) """
        "from pgembedd_internal.pipeline"
    )
    plan = plans_of_a_part(connection)
    assert "Index Cond: (ROW(" in plan
    assert "Rows Removed by Filter" not in plan


def test_what_keeps_it_from_going_on_is_said_by_the_sweep(large: psycopg.Connection) -> None:
    forget_jobs(large)
    fails = "create or replace function public.fails() returns boolean immutable language plpgsql as $$ begin {} end $$"
    large.execute(fails.format("return true;").encode())
    large.execute("create index on documents (id) where fails()")
    large.execute(fails.format("raise exception 'the index is broken';").encode())
    assert more(large) == 0
    state = "select state, reason from pgembedd.status"
    assert rows(large, state) == [("running", None)]
    for _ in range(2):  # what was there at one sweep alone may have been an alteration
        large.execute("update pgembedd_internal.pipeline set sweep_due_at = '-infinity'")
        large.execute("select pgembedd.sweep()")
    ((stopped, reason),) = rows(large, state)
    assert stopped == "stopped"
    assert "The sweep failed: the index is broken" in reason
