"""A downgrade takes away what is ours, and nothing else. The plain cases are in test_schema.py."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.contrib.plan import Plan, execute_plan
from pgembedd.contrib.supabase import find_plans, options_of
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.schema_check import check_schema
from pgembedd.errors import ConfigurationError
from tests.support.databases import Database
from tests.support.guide import INSERT, follow_guide, guide_table, trigger_definitions, waiting_messages
from tests.support.pgmq_extension import PgmqServer
from tests.support.refusals import sentence
from tests.support.roles import Roles
from tests.support.sql import (
    BACKFILL,
    claim,
    column,
    create_pipeline,
    make_documents,
    rows,
    store,
    value,
    vectors,
    work,
)

OURS = """
    select 'function', oid::regprocedure::text from pg_proc
        where oid > 16384 and pronamespace <> all (%(others)s::regnamespace[])
    union all select 'relation', oid::regclass::text from pg_class
        where oid > 16384 and relnamespace <> all (%(others)s::regnamespace[] || 'pg_toast'::regnamespace)
    union all select 'trigger', tgname from pg_trigger where not tgisinternal
    union all select 'schema', nspname from pg_namespace where oid > 16384
    union all select 'extension', extname from pg_extension where oid > 16384
    union all select 'default', defaclacl::text from pg_default_acl
    order by 1, 2
"""


def everything(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """All that is not Postgres's own or pgvector's."""
    found = connection.execute(OURS, {"others": ["public"]}).fetchall()
    return [(row[0], row[1]) for row in found]


@pytest.mark.slow
@pytest.mark.parametrize("vector", ["there", "ours"])
def test_what_there_was_before_is_what_there_is_after(empty_database: Database, vector: str) -> None:
    """But pgvector, whose types a column of vectors needs."""
    with empty_database.connect() as connection:
        if vector == "there":
            connection.execute("create extension vector")
        before = everything(connection)
        migrate(empty_database.conninfo)
        assert everything(connection) != before
        downgrade(empty_database.conninfo)
        assert {*everything(connection)} == {*before, ("extension", "vector")}


def test_with_pipelines_of_all_sorts(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, on_update="clear", index_type="hnsw")
    connection.execute("create table parts (id int primary key, title text) partition by range (id)")
    connection.execute("create table part partition of parts for values from (0) to (10)")
    create_pipeline(connection, pipeline="parts", source="parts", content_columns=["title"], on_update="clear")
    connection.execute("create table gone (id int primary key, title text)")
    create_pipeline(connection, pipeline="gone", source="gone", content_columns=["title"])
    connection.execute("drop table gone")
    store(connection, claim(connection, BACKFILL, pipeline=1))
    before = vectors(connection)
    assert None not in before
    downgrade(database.conninfo)
    assert vectors(connection) == before
    assert value(connection, "select to_regclass('documents_embedding_hnsw')") == "documents_embedding_hnsw"
    assert value(connection, "select to_regnamespace('pgmq')") is None
    assert rows(connection, "select tgname from pg_trigger where not tgisinternal") == []
    connection.execute("insert into documents values (3); insert into part values (1); update parts set title = 'x'")


@pytest.mark.slow
def test_and_up_again_takes_up_where_it_was(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection, index_type="hnsw", model="tiny")
    work(connection)
    before = vectors(connection)
    downgrade(database.conninfo)
    migrate(database.conninfo)
    assert create_pipeline(connection, index_type="hnsw", existing_vectors="keep", model="tiny") == 0
    assert vectors(connection) == before


def test_a_function_of_a_users_on_pgmq_keeps_it(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("create view queues as select * from pgmq.meta")
    downgrade(database.conninfo)
    assert rows(connection, "select * from queues") == []


@pytest.mark.slow
def test_the_roles_rights_are_taken_back(roles: Roles, empty_database: Database) -> None:
    """Another role of the user's, too: it can be dropped afterwards, as the end of this test shows."""
    role = roles.make("worker")
    with empty_database.connect() as connection:
        migrate(empty_database.conninfo)
        connection.execute("select pgembedd.grant_worker(%s)", [role])
        downgrade(empty_database.conninfo)
        left = """
            select count(*) from pg_shdepend d join pg_roles r on r.oid = d.refobjid
            where d.dbid = (select oid from pg_database where datname = current_database())
              and r.rolname in ('pgembedd_worker', %s)
        """
        assert value(connection, left, role) == 0
        assert value(connection, "select count(*) from pg_roles where rolname = 'pgembedd_worker'") == 1


@pytest.mark.slow
def test_an_import_from_the_guide_is_undone_first(database: Database, connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, clear=True)
    guide_table(connection, "gone", function="of_gone")
    connection.cursor().executemany(INSERT, [(1,), (2,)])
    before = (trigger_definitions(connection), waiting_messages(connection))
    for plan in find_plans(connection, options_of("gte-small", None)):
        assert isinstance(plan, Plan)
        assert isinstance(execute_plan(connection, plan), list)
    connection.execute("drop table gone cascade")
    downgrade(database.conninfo)
    left = {name: text for name, text in before[0].items() if name.startswith("documents")}
    assert (trigger_definitions(connection), waiting_messages(connection)) == (left, before[1])
    connection.execute(INSERT, [3])
    assert len(waiting_messages(connection)) == 3
    assert value(connection, "select to_regnamespace('pgembedd')") is None


@pytest.mark.slow
def test_an_import_that_cannot_be_undone_stops_the_downgrade(
    database: Database, connection: psycopg.Connection
) -> None:
    follow_guide(connection)
    guide_table(connection)
    (plan,) = find_plans(connection, options_of("gte-small", None))
    assert isinstance(plan, Plan)
    assert isinstance(execute_plan(connection, plan), list)
    connection.execute("drop function util.queue_embeddings()")
    with pytest.raises(ConfigurationError, match="cannot be created again: function util"):
        downgrade(database.conninfo)
    assert value(connection, "select count(*) from pgembedd_internal.pipeline") == 1
    connection.execute("delete from pgembedd_internal.imported_trigger where source_name = 'public.documents'")
    downgrade(database.conninfo)
    assert trigger_definitions(connection) == {}


def test_downgrade_without_anything_to_take_away(empty_database: Database) -> None:
    downgrade(empty_database.conninfo)
    with empty_database.connect() as connection:
        assert everything(connection) == []


@pytest.mark.slow
@pytest.mark.parametrize("foreign", [False, True])
def test_the_extension_goes_if_it_is_ours_alone(
    pgmq_server: PgmqServer, pgmq_database: Database, foreign: bool
) -> None:
    migrate(pgmq_database.conninfo)
    with pgmq_database.connect() as connection:
        if foreign:
            connection.execute("select pgmq.create('somebody_elses')")
        downgrade(pgmq_database.conninfo)
        assert value(connection, "select count(*) from pg_extension where extname = 'pgmq'") == foreign
        if foreign:
            assert rows(connection, "select queue_name from pgmq.meta") == [("somebody_elses",)]


@pytest.mark.slow
def test_what_a_user_built_on_the_extension_stops_the_downgrade(
    pgmq_server: PgmqServer, pgmq_database: Database
) -> None:
    migrate(pgmq_database.conninfo)
    with pgmq_database.connect() as connection:
        connection.execute("create view mine as select * from pgmq.meta")
        with pytest.raises(ConfigurationError, match=r"view public\.mine depends on"):
            downgrade(pgmq_database.conninfo)
        check_schema(connection)


def test_what_a_user_built_on_ours_stops_the_downgrade_by_name(
    database: Database, connection: psycopg.Connection
) -> None:
    connection.execute("create view mine as select * from pgembedd.status")
    said = "The migration stopped: view public.mine depends on view pgembedd.status. Drop that, and run it again."
    with sentence(ConfigurationError, said):
        downgrade(database.conninfo)
    check_schema(connection)
    connection.execute("drop view mine")
    downgrade(database.conninfo)


@pytest.mark.slow
def test_an_extension_that_was_there_stays(pgmq_server: PgmqServer, pgmq_database: Database) -> None:
    with pgmq_database.connect() as connection:
        connection.execute("create extension pgmq")
        migrate(pgmq_database.conninfo)
        downgrade(pgmq_database.conninfo)
        assert rows(connection, "select extname from pg_extension where extname = 'pgmq'") == [("pgmq",)]
        assert rows(connection, "select queue_name from pgmq.meta") == []


def test_queues_of_others_stay_as_they_were(database: Database, connection: psycopg.Connection) -> None:
    """With pgmq's index, which ours stood in for."""
    connection.execute("update pgembedd_internal.installation set pgmq_install = 'found', created_queues = '{}'")
    make_documents(connection)
    create_pipeline(connection)
    indexes = (
        "select regexp_replace(indexdef, '.* using ', '', 'i') from pg_indexes where tablename = %s order by 1 desc"
    )
    assert "btree (vt)" not in column(connection, indexes, "q_pgembedd_fresh")
    downgrade(database.conninfo)
    assert column(connection, indexes, "q_pgembedd_fresh") == ["btree (vt)", "btree (msg_id)"]


def test_words_and_functions_for_postgrest_go(database: Database, connection: psycopg.Connection) -> None:
    make_documents(connection, 2)
    create_pipeline(connection)
    work(connection)
    connection.execute("select pgembedd.expose_search()")
    downgrade(database.conninfo)
    assert column(
        connection, "select to_regclass(t)::text from unnest('{documents_words,documents_words_view}'::text[]) t"
    ) == [None, None]
    assert value(connection, "select count(*) from pg_proc where proname = 'search_many'") == 0
