"""An upgrade puts everything right, keeps what is the users', and says in a sentence what is in its way."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgembedd.database import extensions
from pgembedd.database.definitions import Definitions
from pgembedd.database.migrate import apply_sql, downgrade, migrate
from pgembedd.database.own_version import HEAD, sql_digest
from pgembedd.database.schema_check import check_schema
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ConfigurationError, SchemaError
from tests.migration.dump import dump_schema
from tests.migration.releases import released
from tests.support.databases import Database
from tests.support.pgmq_extension import OLD, pgmq_offering_server
from tests.support.postgres_versions import server_of_version
from tests.support.refusals import sentence
from tests.support.roles import Roles, connect_as
from tests.support.search import make_source
from tests.support.sql import column, create_pipeline, make_documents, reason, rows, state, value, work
from tests.support.waiting import eventually

# What another version of sql/ may have left: other bodies, other settings, other rights, missing parts.
DAMAGE = """
    create or replace function pgembedd_internal.mark_alone(queue text, msg_id bigint, read_ct integer) returns boolean
        language sql as 'select true';
    create or replace view pgembedd.dead_letters as
        select ''::text as pipeline, null::jsonb as key, '' as reason, '' as error, 0 as attempts,
               null::jsonb as history, now() as enqueued_at, now() as died_at, '' as queue, null::jsonb as message;
    drop procedure pgembedd.wait_for_pipeline(text, interval);
    drop function pgembedd_code.pipeline_1_read(jsonb[]);
    drop trigger pgembedd_1_update on documents;
    create or replace function pgembedd_code.pipeline_1_on_insert() returns trigger
        language plpgsql as 'begin return null; end';
    grant execute on all functions in schema pgembedd, pgembedd_internal to public;
    comment on function pgembedd.pause(text) is null;
"""


@pytest.mark.slow
def test_an_upgrade_replaces_what_was_there(server: EmbeddedPostgres, database: Database) -> None:
    with database.connect() as connection:
        make_documents(connection, 1)
        create_pipeline(connection, on_update="clear")
        before = dump_schema(server, database)
        connection.execute(DAMAGE)
        assert dump_schema(server, database) != before
        migrate(database.conninfo)
        assert dump_schema(server, database) == before
        connection.execute("update documents set title = 'new'")
        assert value(connection, "select queued_fresh from pgembedd.status") == 1


# Definitions that Postgres does not replace by those of this version: other columns, names and kinds of parameters.
OTHER_SIGNATURES = """
    drop function pgembedd.row_status(text, jsonb[]);
    create function pgembedd.row_status(pipeline text, ids jsonb[])
        returns table (id jsonb, state text) language sql as 'select null::jsonb, null::text';
    drop function pgembedd.pause(text);
    create function pgembedd.pause(pipeline text) returns integer language sql as 'select 1';
    drop function pgembedd.resume(text);
    create function pgembedd.resume(name text, at timestamptz default now()) returns void language sql as 'select';
    drop view pgembedd.status;
    drop view pgembedd_internal._figures;
    drop function pgembedd_internal._shown_state(pgembedd_internal.pipeline);
    create function pgembedd_internal._shown_state(one pgembedd_internal.pipeline) returns integer
        language sql stable as 'select 1';
    create view pgembedd.status as select pgembedd_internal._shown_state(p) as shown, p.name
        from pgembedd_internal.pipeline p;
    drop view pgembedd.dead_letters;
    create view pgembedd.dead_letters as select 1 as old_column;
"""


@pytest.mark.slow
def test_an_upgrade_replaces_what_had_other_parameters_and_columns(
    server: EmbeddedPostgres, roles: Roles, database: Database
) -> None:
    reader = roles.make("reader")
    granted = f"""
        grant usage on schema pgembedd, pgembedd_internal to {reader};
        grant execute on function pgembedd.pause(text) to {reader} with grant option;
        grant select on pgembedd.status, pgembedd.dead_letters to {reader};
        grant select on pgembedd.status to public;
    """
    with database.connect() as connection:
        make_documents(connection, 1)
        create_pipeline(connection)
        connection.execute(f"select pgembedd.grant_search('{reader}')")
        connection.execute(f"{granted} grant execute on function pgembedd.resume(text) to {reader}")
        migrate(database.conninfo)  # which grants, too, what the functions in our views need
        before = dump_schema(server, database)
        connection.execute(OTHER_SIGNATURES)
        connection.execute(f"{granted} grant execute on function pgembedd.resume(text, timestamptz) to {reader}")
        connection.execute(f"grant execute on function pgembedd.row_status(text, jsonb[]) to {reader}")
        migrate(database.conninfo)
        # The order of grants may be another.
        assert sorted(dump_schema(server, database).splitlines()) == sorted(before.splitlines())
        assert rows(connection, "select state from pgembedd.status") == [("running",)]


def test_a_view_with_the_name_of_a_routine_is_not_granted_its_rights(roles: Roles, database: Database) -> None:
    reader = roles.make("reader")
    with database.connect() as connection:
        connection.execute(
            "drop view pgembedd_internal._search_target cascade;"  # as 0.1.0, whose _search_target() returned an object
            "create function pgembedd_internal._search_target(name text) returns jsonb language sql "
            "as 'select null::jsonb';"
            f"grant execute on function pgembedd_internal._search_target to {reader}"
        )
        migrate(database.conninfo)
        rights = """select has_function_privilege(%s, p.oid, 'execute'),
                           has_table_privilege(%s, 'pgembedd_internal._search_target', 'select')
                    from pg_proc p where p.proname = '_search_target'"""
        assert rows(connection, rights, reader, reader) == [(True, False)]


def test_an_upgrade_names_what_stands_on_an_older_definition(
    database: Database, connection: psycopg.Connection
) -> None:
    connection.execute("drop function pgembedd.pause(text)")
    connection.execute("create function pgembedd.pause(name text) returns integer language sql as 'select 1'")
    connection.execute("create view mine as select pgembedd.pause('documents')")
    said = "The migration stopped: view public.mine stands on pgembedd.pause(text): this version has others, so drop"
    with sentence(ConfigurationError, f"{said} what stands on them, migrate, and create it again."):
        migrate(database.conninfo)
    connection.execute("drop view mine")
    migrate(database.conninfo)
    check_schema(connection)


def test_a_view_on_a_search_of_fewer_parameters_follows(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """The short form of tests/migration/test_older_version.py."""
    reader = roles.make("reader")
    make_source(connection, 3)
    functions = (
        "select p::text, pg_get_functiondef(p) from pgembedd_internal._search_functions() p where p::text like %s"
    )
    ((search, definition),) = rows(connection, functions, "pgembedd.search(text%")
    older = definition.replace(", options jsonb DEFAULT '{}'::jsonb)", ")")
    connection.execute(f"drop function {search}; {older}; create schema api".encode())
    connection.execute("select pgembedd.expose_search('api')")
    connection.execute("create view mine as select key from pgembedd.search('documents', 'title', mode => 'text')")
    connection.execute(f"grant select on mine to {reader}; select pgembedd.grant_search('{reader}')")
    migrate(database.conninfo)
    assert len(rows(connection, "select * from mine")) == 3
    marked = """'{"snippet_marks": ["<", ">"]}'"""
    found = f"select snippet from api.search('documents', 'title', mode => 'text', options => {marked})"
    assert "<title>" in column(connection, found)[0]
    assert value(connection, "select count(*) from pg_proc where proname = 'search'") == 3
    with connect_as(database, reader) as asking, pytest.raises(psycopg.errors.InsufficientPrivilege, match="documents"):
        asking.execute("select * from mine")


def test_a_view_on_a_search_with_other_columns_is_named(database: Database, connection: psycopg.Connection) -> None:
    """0.1.0 called `record` "row"."""
    functions = (
        "select p::text, pg_get_functiondef(p) from pgembedd_internal._search_functions() p where p::text like %s"
    )
    ((search, definition),) = rows(connection, functions, "pgembedd.search(text%")
    older = definition.replace(", record jsonb, place jsonb)", ', "row" jsonb)')
    connection.execute(f"drop function {search}; {older}".encode())
    connection.execute("create view mine as select key, \"row\" from pgembedd.search('documents', 'x')")
    with sentence(ConfigurationError, "The migration stopped: view public.mine stands on pgembedd.search(text,"):
        migrate(database.conninfo)
    connection.execute("drop view mine")
    migrate(database.conninfo)
    connection.execute("create view mine as select key, record from pgembedd.search('documents', 'x')")
    check_schema(connection)


def test_a_view_that_a_version_drops_keeps_its_grants(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    reader = roles.make("reader")
    granted = "select unnest(relacl)::text from pg_class where oid = 'pgembedd.status'::regclass order by 1"
    connection.execute(f"grant select on pgembedd.status to {reader} with grant option")
    before = rows(connection, granted)
    with database.connect(autocommit=False) as migrating:
        migrating.execute("set local search_path to pg_catalog, pg_temp")
        definitions = Definitions(migrating)
        migrating.execute("drop view pgembedd.status")
        apply_sql(migrating, definitions)
    assert rows(connection, granted) == before


def test_a_users_view_on_ours_outlives_an_upgrade(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("create view mine as select * from pgembedd.status")
    migrate(database.conninfo)
    assert rows(connection, "select * from mine") == []


def test_an_upgrade_leaves_paused_pipelines_paused(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("select pgembedd.pause('documents')")
    migrate(database.conninfo)
    assert state(connection) == "paused"
    assert reason(connection).startswith("paused by postgres;")


def test_a_broken_pipeline_stops_no_upgrade(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection)
    connection.execute("create table letters (id int primary key, title text)")
    create_pipeline(connection, pipeline="letters", source="letters", content_columns=["title"])
    connection.execute("drop table documents")
    migrate(database.conninfo)
    assert state(connection) == "stopped"
    assert state(connection, "letters") == "running"


@pytest.mark.slow
def test_an_upgrade_finds_rows_that_lost_their_jobs(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, backfill=False)
    for queue in ("pgembedd_fresh", "pgembedd_backfill"):
        connection.execute("select pgmq.drop_queue(%s)", [queue])
    migrate(database.conninfo)
    assert work(connection) == {1: "written", 2: "written"}


def test_the_migrated_schema_names_its_version(connection: psycopg.Connection) -> None:
    check_schema(connection)
    assert rows(connection, "select revision, sql_digest from pgembedd.schema_version()") == [(HEAD, sql_digest())]


def test_an_older_revision_is_refused_by_the_worker(connection: psycopg.Connection) -> None:
    connection.execute("update pgembedd.schema_revision set version_num = '0000'")
    with sentence(SchemaError, f"at pgembedd schema 0000, this program needs {HEAD}: run `pgembedd migrate`."):
        check_schema(connection)


def test_without_rights_the_sentence_names_the_grant(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    role = roles.make("worker")
    with connect_as(database, role) as worker, pytest.raises(ConfigurationError) as caught:
        check_schema(worker)
    connection.execute(str(caught.value).split("`")[1].encode())
    with connect_as(database, role) as worker:
        check_schema(worker)


def test_vector_that_went_away(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("drop extension vector cascade")
    with sentence(SchemaError, "The extension vector is gone from this database: run `CREATE EXTENSION vector`"):
        migrate(database.conninfo)


def test_queues_without_a_column(empty_database: Database) -> None:
    """Of a pgmq that was installed as SQL, and tells no version."""
    with empty_database.connect() as connection:
        connection.execute("""
            create schema pgmq; create table pgmq.meta (queue_name text);
            create table pgmq.q_pgembedd_fresh (msg_id bigint, read_ct int, enqueued_at timestamptz, message jsonb)
        """)
        with sentence(ConfigurationError, 'the pgmq queue "pgembedd_fresh" has no column vt'):
            migrate(empty_database.conninfo)
        assert value(connection, "select to_regnamespace('pgembedd')") is None


def test_a_vector_that_is_too_old(server: EmbeddedPostgres, empty_database: Database) -> None:
    with empty_database.connect() as connection:
        connection.execute("create extension vector")
        connection.execute("update pg_extension set extversion = '0.6.2' where extname = 'vector'")
    with sentence(ConfigurationError, "pgvector 0.6.2 is too old, pgembedd needs 0.7 or newer"):
        migrate(empty_database.conninfo)


def test_a_server_that_is_too_old(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(empty_database.conninfo)
    monkeypatch.setattr(extensions, "MINIMUM_SERVER", 99)
    with sentence(ConfigurationError, "is too old, pgembedd needs 99 or newer: upgrade the server, then run"):
        migrate(empty_database.conninfo)
    downgrade(empty_database.conninfo)
    with empty_database.connect() as connection:
        assert value(connection, "select to_regnamespace('pgembedd')") is None


@pytest.mark.slow
def test_two_databases_of_one_server_at_once_share_the_role() -> None:
    """The role is the server's: who comes second finds it, even in the middle of the other's transaction."""
    with server_of_version() as server, psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute("create database second")
        with psycopg.connect(server.conninfo()) as first:
            first.execute("create role pgembedd_worker nologin")
            waiting = threading.Thread(target=migrate, args=[server.conninfo("second")])
            waiting.start()
            waited = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            eventually(lambda: value(admin, waited) == 1)
            first.commit()
        waiting.join()
        with psycopg.connect(server.conninfo("second")) as second:
            check_schema(second)


@pytest.mark.slow
def test_what_queued_jobs_had_counted_moves_into_their_messages(empty_database: Database) -> None:
    """From the headers, where 0.1.0 had it. A job that is held at that moment counts from zero."""
    released().migrate(empty_database.conninfo)
    job = {"id": 1, "pipeline": 1}
    headers: list[Any] = [None, {"pgembedd": {"attempts": 2}, "x": 1}, {"traceparent": "00-"}, {"pgembedd": 5}, []]
    with empty_database.connect() as connection, empty_database.connect() as holder:
        for given in [*headers, {"pgembedd": {"attempts": 3}}]:
            connection.execute(
                "insert into pgmq.q_pgembedd_backfill (vt, message, headers) values (now(), %s, %s)",
                [Jsonb(job), given if given is None else Jsonb(given)],
            )
        with holder.transaction():
            holder.execute("select from pgmq.q_pgembedd_backfill where msg_id = 6 for update")
            migrate(empty_database.conninfo)
        messages = column(connection, "select message from pgmq.q_pgembedd_backfill order by msg_id")
    notes = [{"attempts": 2}, {"traceparent": "00-"}, {}]
    assert messages == [job, *({**job, "pgembedd": note} for note in notes), job, job]


@pytest.mark.slow
def test_a_view_of_postgresql_14_gets_the_rights_of_its_caller(empty_database: Database) -> None:
    released().migrate(empty_database.conninfo)
    with empty_database.connect() as connection:
        make_documents(connection, 1)
        connection.execute(
            "select pgembedd.create_pipeline('documents', 'documents', array['title'], embedding_table => 'chunks')"
        )
        connection.execute("alter view chunks_view reset (security_invoker)")
        connection.execute("create view chunk_view as select * from chunks")  # a user's own
        migrate(empty_database.conninfo)
        options = "select reloptions from pg_class where oid in ('chunks_view'::regclass, 'chunk_view'::regclass)"
        assert column(connection, f"{options} order by relname") == [None, ["security_invoker=true"]]


@pytest.mark.slow
def test_old_queues_of_the_extension_are_found_again() -> None:
    """Queues that 1.5.1 leaves out of a dump are made again, and existing ones are used."""
    with pgmq_offering_server(OLD) as offering:
        conninfo = offering.server.conninfo()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("create extension pgmq; select pgmq.create('pgembedd_fresh')")
            connection.execute("""select pgmq.send('pgembedd_fresh', '{"id": 1}')""")
            migrate(conninfo)
            assert value(connection, "select count(*) from pgmq.q_pgembedd_fresh") == 1
            assert value(connection, "select created_queues from pgembedd_internal.installation") == [
                "pgembedd_backfill"
            ]


DESCRIBED = """
    select o.name from (
        select p.proname::text as name, obj_description(p.oid, 'pg_proc') as said from pg_proc p
        where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
            and not starts_with(p.proname, '_')
          and p.oid not in (select pgembedd_internal._worker_functions())
        union all
        select c.relname, obj_description(c.oid, 'pg_class') from pg_class c
        where c.relnamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
            and c.relkind in ('v', 'r', 'S')
          and c.relname not in ('schema_revision', 'pipeline_id_seq', 'dead_letter_id_seq')) o
    where coalesce(o.said, '') = '' order by 1
"""


def test_every_part_of_the_interface_has_a_comment(connection: psycopg.Connection) -> None:
    """Functions for workers alone are described in worker/pgembedd/database/statements."""
    assert rows(connection, DESCRIBED) == []
