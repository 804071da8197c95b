"""What a user's code leaves in a worker's session concerns neither the next pipeline nor the worker."""

from __future__ import annotations

import threading

import psycopg
import pytest

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.sessions import Sessions
from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import await_quiet
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.sql import call, create_pipeline, make_documents, rows, value
from tests.support.worker import worker_thread

# A content function that leaves behind whatever a function may.
LEFT = """
    create function spoil(documents) returns text language plpgsql as $$
    begin
        perform pg_catalog.set_config(name, setting, false) from (values
            ('default_transaction_read_only', 'on'), ('standard_conforming_strings', 'off'), ('array_nulls', 'off'),
            ('datestyle', 'German'), ('bytea_output', 'escape'), ('lock_timeout', '1ms'), ('timezone', 'Asia/Tokyo'),
            ('default_transaction_isolation', 'serializable'), ('application_name', 'another')) as s(name, setting);
        perform pg_catalog.pg_try_advisory_lock(42);
        create temporary table if not exists pipeline (id int);
        if not exists (select from pg_catalog.pg_prepared_statements where name = 'planted') then
            execute 'prepare planted as select 1';
        end if;
        return $1.title;
    end $$;
"""

STATE = """
    select (select pg_catalog.count(*) from pg_catalog.pg_settings where source = 'session'),
           (select pg_catalog.count(*) from pg_catalog.pg_prepared_statements),
           (select pg_catalog.count(*) from pg_catalog.pg_locks
            where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()),
           pg_catalog.to_regclass('pg_temp.pipeline') is null, pg_catalog.current_setting('search_path')
"""


@pytest.fixture
def spoiled(connection: psycopg.Connection) -> psycopg.Connection:
    """`documents` with the function, and `others` without."""
    make_documents(connection, 3)
    connection.execute(LEFT)
    connection.execute("create table others (id int primary key, title text)")
    connection.execute("insert into others select i, 'other ' || i from generate_series(1, 3) i")
    return connection


def test_a_session_keeps_nothing_of_it(database: Database, spoiled: psycopg.Connection) -> None:
    create_pipeline(spoiled, content_function="spoil", embedding_column="embedding")
    made = Connection(Sessions(database.conninfo, "test"), threading.Event())
    session = made.call(lambda session: session)
    before = session.execute(STATE).fetchall()
    assert before == [(before[0][0], 0, 0, True, "pg_catalog, pg_temp")]
    found = made.rows_once("read", {"pipeline_id": 1, "ids": ["1", "2"]})
    assert [row[0] for row in found] == ["ok", "ok"]
    assert session.execute(STATE).fetchall() == before
    assert session.execute("show application_name").fetchall() == [("pgembedd test",)]
    made.close()


def test_behind_a_pooler_nothing_is_set_for_the_session(database: Database, spoiled: psycopg.Connection) -> None:
    """It belongs to the next client. What we look up is looked up under our own path all the same."""
    create_pipeline(spoiled)
    made = Connection(Sessions(database.conninfo, "test", pooled=True), threading.Event())
    assert len(JobRepository(made).connection.rows("models")) == 1
    session = made.call(lambda session: session)
    assert psycopg.Cursor(session).execute("show search_path").fetchall() == [('"$user", public',)]
    with session.transaction():
        assert session.execute("show search_path").fetchall() == [("pg_catalog, pg_temp",)]
    for _ in range(10):
        made.rows("models")
    assert session.execute("select count(*) from pg_prepared_statements").fetchall() == [(0,)]
    made.close()


def test_the_next_pipeline_is_not_charged(database: Database, spoiled: psycopg.Connection, model: Session) -> None:
    for name, given in (("documents", {"content_function": "spoil"}), ("others", {"content_columns": ["title"]})):
        call(spoiled, "create_pipeline", pipeline=name, source=name, model=MODEL, index_type="none", **given)
    with worker_thread(database, only(Wrapped(model))):
        await_quiet(spoiled)
        spoiled.execute("update documents set title = title || '!'; update others set title = title || '!'")
        await_quiet(spoiled)
    for table in ("documents", "others"):
        assert value(spoiled, f"select count(embedding) from {table}") == 3
    assert rows(spoiled, "select * from pgembedd.dead_letters") == []


@pytest.mark.slow
@pytest.mark.parametrize("state", ["40001", "40P01", "08006", "25006", "PGE02"])
def test_an_error_that_code_raises_is_of_its_own_row(
    database: Database, spoiled: psycopg.Connection, model: Session, state: str
) -> None:
    """Whatever it is called: a collision, a lost connection, a standby, or what read() itself ends with."""
    spoiled.execute(f"""
        create function raising(documents) returns text language plpgsql as $$
        begin
            if $1.id = 2 then raise exception 'No' using errcode = '{state}'; end if;
            return $1.title;
        end $$""")
    for name, given in (("documents", {"content_function": "raising"}), ("others", {"content_columns": ["title"]})):
        call(
            spoiled,
            "create_pipeline",
            pipeline=name,
            source=name,
            model=MODEL,
            max_attempts=1,
            index_type="none",
            **given,
        )
    with worker_thread(database, only(Wrapped(model))):
        await_quiet(spoiled)
    assert value(spoiled, "select count(embedding) from others") == 3
    assert rows(spoiled, "select id from documents where embedding is null") == [(2,)]
    assert rows(spoiled, "select key, reason, attempts from pgembedd.dead_letters") == [(2, "content", 1)]
