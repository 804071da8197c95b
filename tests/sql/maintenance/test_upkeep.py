"""Sweep, retention and tick; status."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from tests.support.databases import fresh_database, running_server
from tests.support.prepared import prepared
from tests.support.sql import (
    BACKFILL,
    call,
    claim,
    connected,
    create_pipeline,
    empty,
    end_sessions,
    fail,
    make_documents,
    qualified,
    queued,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["connection"]


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three rows that are not queued."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)


@pytest.mark.slow
def test_the_sweep_finds_what_triggers_missed(documents: psycopg.Connection) -> None:
    work(documents)
    documents.execute("alter table documents disable trigger user")
    documents.execute("insert into documents values (4, 'x'), (5, 'y')")
    documents.execute("alter table documents enable trigger user")
    assert queued(documents) == []
    assert value(documents, "select pgembedd.sweep()") == 5
    assert sorted(queued(documents, BACKFILL)) == [1, 2, 3, 4, 5]
    assert value(documents, "select pgembedd.sweep()") == 0
    assert set(work(documents).values()) == {"written"}
    assert value(documents, "select pgembedd.sweep()") == 0


def test_the_sweep_leaves_alone_what_is_queued_in_any_lane(documents: psycopg.Connection) -> None:
    documents.execute("update documents set title = 'x' where id = 1")
    documents.execute(
        "insert into pgmq.q_pgembedd_backfill (vt, message) values (now() + '1 hour', '{\"id\": 2, \"pipeline\": 1}')"
    )
    assert value(documents, "select pgembedd.sweep()") == 1
    assert queued(documents, BACKFILL) == [2, 3]


def test_the_sweep_takes_so_many_at_a_time(documents: psycopg.Connection) -> None:
    assert [value(documents, "select pgembedd.sweep(2)") for _ in range(3)] == [2, 1, 0]


def test_the_sweep_wakes_a_sleeping_worker(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    documents.execute("select pgembedd_internal.set_idle(true)")
    other.execute("listen pgembedd")
    documents.execute("select pgembedd.sweep()")
    assert [notice.payload for notice in other.notifies(timeout=PATIENCE_S, stop_after=1)] == [BACKFILL]


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_the_sweep_leaves_alone_what_does_not_run(documents: psycopg.Connection, how: str) -> None:
    if how == "pause":
        call(documents, "pause", pipeline="documents")
    else:
        documents.execute("select pgembedd_internal.stop_pipeline(1, 'broken')")
    assert value(documents, "select pgembedd.sweep()") == 0


def test_a_forced_backfill_queues_every_row(documents: psycopg.Connection) -> None:
    call(documents, "backfill", pipeline="documents")
    work(documents)
    assert call(documents, "backfill", pipeline="documents") == 0
    assert call(documents, "backfill", pipeline="documents", force=True) == 3
    assert work(documents) == {1: "unchanged", 2: "unchanged", 3: "unchanged"}


def test_retention(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, ' '), (5, ' '), (6, 'bad')")
    jobs = {job.id: job for job in claim(documents)}
    store(documents, [jobs[4], jobs[5]])
    fail(documents, jobs[6], permanent=True)
    for age in ("23 hours", "25 hours"):
        documents.execute("insert into pgembedd_internal.activity values (now() - %s::interval, 1, 1, 1, 1, 1)", [age])
    documents.execute(
        "insert into pgembedd_internal.provider_use select 'x', pgembedd_internal._day() - d, 0, 0 "
        "from unnest('{31,32}'::int[]) d"
    )
    documents.execute("delete from documents where id in (5, 6)")
    assert value(documents, "select pgembedd.retention()") == 3  # activity, and two rows that are gone
    assert rows(documents, "select key, state from pgembedd_internal.row_state") == [(4, "blank")]
    assert rows(documents, "select * from pgembedd_internal.dead_letter") == []
    assert value(documents, "select count(*) from pgembedd_internal.activity") == 2
    assert value(documents, "select array_agg(pgembedd_internal._day() - day) from pgembedd_internal.provider_use") == [
        31
    ]


def due(connection: psycopg.Connection) -> None:
    connection.execute("update pgembedd_internal.installation set swept_at = '-infinity', retained_at = '-infinity'")


def test_the_tick_does_what_is_due(documents: psycopg.Connection) -> None:
    due(documents)
    assert value(documents, "select pgembedd.tick()") == 3
    empty(documents)
    assert value(documents, "select pgembedd.tick()") is None
    documents.execute("update pgembedd_internal.installation set swept_at = now() - interval '61 s'")
    assert value(documents, "select pgembedd.tick()") == 3
    assert value(
        documents, "select now() - least(swept_at, retained_at) < interval '1 min' from pgembedd_internal.installation"
    )
    empty(documents)
    assert value(documents, "select pgembedd.tick(0)") == 3


def test_a_part_of_the_upkeep_that_fails_keeps_no_other_from_its_turn(documents: psycopg.Connection) -> None:
    documents.execute("insert into pgembedd_internal.activity values (now() - interval '25 hours', 1, 1, 1, 1, 1)")
    done = "select (select count(*) from pgembedd_internal.sample) > 0, count(*) = 0 from pgembedd_internal.activity"
    for part, left_out in {
        "_open_queues()": (),
        "_mirror_all_rights()": (),
        "_forget_embed_requests(timestamptz)": (),
        "_forget_answers()": (),
        "_resume_mended()": (),
        "_sample_words()": (),
        "_maintain_indexes()": (),
        "_take_sample()": ("sample",),
        "sweep(bigint, boolean, double precision)": ("sweep",),
        "retention()": ("retention",),
    }.items():
        with documents.transaction(force_rollback=True):
            due(documents)
            documents.execute(
                "update pgembedd_internal.installation set sample_due_at = '-infinity', indexes_at = '-infinity'"
            )
            documents.execute(f"alter function {qualified(part)} rename to gone")  # whatever it fails of
            swept = value(documents, "select pgembedd.tick()")
            ((sampled, forgotten),) = rows(documents, done)
            assert (swept == 3, sampled, forgotten) == tuple(
                name not in left_out for name in ("sweep", "sample", "retention")
            ), part


def test_an_unlogged_table_with_a_broken_index_is_emptied(documents: psycopg.Connection) -> None:
    documents.execute(
        "select pgembedd_internal._post_embed_request(gen_random_uuid(), 'm', null, 'query', 'x', '1 min')"
    )
    documents.execute("""
        create function broken() returns trigger language plpgsql as $$
        begin raise exception 'index is broken' using errcode = 'index_corrupted'; end $$;
        create trigger broken before delete on pgembedd_internal.embed_request execute function broken()""")
    due(documents)
    assert value(documents, "select pgembedd.tick()") == 3
    assert value(documents, "select count(*) from pgembedd_internal.embed_request") == 0


def test_the_tick_is_one_sessions_at_a_time(documents: psycopg.Connection, other: psycopg.Connection) -> None:
    due(documents)
    with documents.transaction():
        assert value(documents, "select pgembedd.tick(0)") == 3
        other.execute("set lock_timeout = '1min'")
        assert value(other, "select pgembedd.tick(0)") is None
    assert value(other, "select pgembedd.tick(0)") == 0


def test_a_deep_queue_puts_the_sweep_off_for_ten_minutes(documents: psycopg.Connection) -> None:
    documents.execute(
        "insert into pgmq.q_pgembedd_fresh (vt, message) select now(), '{}' from generate_series(1, 50000)"
    )
    documents.execute("update pgembedd_internal.installation set swept_at = now() - interval '9 min'")
    assert value(documents, "select pgembedd.tick()") is None
    documents.execute("update pgembedd_internal.installation set swept_at = now() - interval '11 min'")
    assert value(documents, "select pgembedd.tick()") == 3


def test_a_model_is_pinned_once(documents: psycopg.Connection) -> None:
    assert value(documents, "select pgembedd_internal.pin_model(1, 'one')") == "one"
    assert value(documents, "select pgembedd_internal.pin_model(1, 'two')") == "one"
    assert value(documents, "select fingerprint from pgembedd.status") == "one"
    assert value(documents, "select pgembedd_internal.pin_model(99, 'one')") is None


def test_status_counts(documents: psycopg.Connection) -> None:
    documents.execute("insert into documents values (4, 'x'), (5, ' '), (6, 'long'), (7, 'bad'), (8, 'worse')")
    documents.execute("select pgembedd.sweep()")
    jobs = {job.id: job for job in claim(documents)}
    store(documents, [jobs[4], jobs[5]])
    store(documents, [jobs[6]], dropped=3)
    fail(documents, jobs[7])
    fail(documents, jobs[8], permanent=True)
    columns = "queued_fresh, queued_backfill, failing, dead, blank, truncated, oldest_age > '0'::interval"
    assert rows(documents, f"select {columns}, rows_per_minute::float8 from pgembedd.status") == [
        (1, 3, 1, 1, 1, 1, True, 18.0)
    ]


@pytest.mark.slow
def test_the_upkeep_locks_the_tables_of_a_thousand_pipelines_at_most(connection: psycopg.Connection) -> None:
    make_documents(connection)
    create_pipeline(connection)
    connection.execute(
        "insert into pgembedd_internal.pipeline overriding system value select (jsonb_populate_record(p, "
        "jsonb_build_object('id', 1000 + i, 'name', 'copy_' || i, 'source', 4e9 - i, 'words_table', null))).* "
        "from pgembedd_internal.pipeline p, generate_series(1, 1100) i"
    )
    connection.execute("select pgembedd.sweep(within_s => 3600)")
    swept = "select count(*) from pgembedd_internal.pipeline where sweep_due_at > '-infinity'"
    assert value(connection, swept) == 1000


def test_a_sweep_that_runs_out_of_time_goes_on_with_the_others(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    for name in ("a", "b", "c"):
        create_pipeline(connection, pipeline=name, embedding_column=name, backfill=False)
    swept = "select array_agg(message ->> 'pipeline' order by msg_id) from pgmq.q_pgembedd_backfill"
    for found in (["1"], ["1", "2"], ["1", "2", "3"]):
        assert value(connection, "select pgembedd.sweep(only_due => true, within_s => 0)") == 1
        assert value(connection, swept) == found
    empty(connection)
    assert value(connection, "select pgembedd.sweep()") == 3


def test_the_sweep_of_a_pipeline_reads_no_catalog_as_a_whole(documents: psycopg.Connection) -> None:
    """So that the sweep takes a time that grows with the pipelines, and not with their square."""
    sweep = "select pgembedd_internal._sweep(p, 0) from pgembedd_internal.pipeline p"
    scans = "select relname, seq_scan from pg_stat_xact_sys_tables where relname in "
    scans += "('pg_class', 'pg_type', 'pg_attribute', 'pg_depend', 'pg_proc')"
    value(documents, sweep)
    with documents.transaction():
        before = rows(documents, scans)
        value(documents, sweep)
        assert rows(documents, scans) == before


SLOW = """
    create or replace function slow() returns boolean language plpgsql immutable as
    $$ begin perform pg_sleep({seconds}); return true; end $$
"""
IN_SLOW = "wait_event = 'PgSleep'"


@pytest.mark.slow
def test_an_upkeep_that_the_end_of_the_server_ended_is_no_pipelines_fault() -> None:
    """One whose session was ended in code of a table's owner is."""
    with running_server() as server, fresh_database(server) as made:
        migrate(made.conninfo)
        with connected(made) as connection:
            make_documents(connection, 1)
            connection.execute(SLOW.format(seconds=0))
            connection.execute("create index on documents (id) where slow()")
            create_pipeline(connection, backfill=False)

        def restart(_: psycopg.Connection) -> None:
            server.stop()
            server.start()

        def terminate(connection: psycopg.Connection) -> None:
            assert end_sessions(connection, IN_SLOW) == 1

        for end, left_out in ((restart, False), (terminate, True)):
            end_in_slow(server.conninfo(made.name), end)
            with psycopg.connect(server.conninfo(made.name), autocommit=True) as connection:
                connection.execute(SLOW.format(seconds=0))
                connection.execute("select pgembedd.tick()")
                blamed = "select upkeep_after is not null from pgembedd_internal.pipeline"
                assert value(connection, blamed) is left_out


def end_in_slow(conninfo: str, end: Callable[[psycopg.Connection], None]) -> None:
    """Has the upkeep come to code of the table's owner that does not end, and ends it there."""
    with (
        psycopg.connect(conninfo, autocommit=True) as connection,
        psycopg.connect(conninfo, autocommit=True) as upkeep,
        ThreadPoolExecutor(1) as pool,
    ):
        due(connection)
        connection.execute(SLOW.format(seconds=1000))
        ticking = pool.submit(upkeep.execute, "select pgembedd.tick()")
        eventually(
            lambda: value(
                connection,
                f"select exists (select from pg_stat_activity where datname = current_database() and {IN_SLOW})",
            )
        )
        end(connection)
        with pytest.raises(psycopg.OperationalError):
            ticking.result()
