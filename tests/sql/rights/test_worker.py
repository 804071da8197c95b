"""The rights of the worker's role, of applications, and of other roles."""

from __future__ import annotations

import re

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.database.rights import missing_worker_functions
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.refusals import refused
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    create_pipeline,
    learn_vector,
    make_documents,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

WORKER_FUNCTIONS = {
    "finish_embed_requests(uuid[],vector[],text[],integer,boolean)",
    "begin_provider_batch(integer,bigint[])",
    "blocker(integer)",
    "note_provider_batch(uuid,text,text,double precision)",
    "provider_batches(integer,bigint[])",
    "continue_backfill(integer)",
    "claim(integer,text,integer,integer)",
    "claim_answers(integer,double precision,integer,uuid[],boolean)",
    "read_answer(uuid,integer)",
    "postpone_answer(uuid,integer,text,integer)",
    "claim_changed(jsonb,integer)",
    "claim_pushed(jsonb,integer)",
    "correct_provider_use(text,bigint)",
    "decline_embed_request(uuid,text,integer)",
    "diagnose(integer)",
    "due(text[],double precision,integer[],text,boolean,text)",
    "extend(text,bigint[],integer[],integer)",
    "extend_answers(uuid[],integer[],double precision)",
    "fail(text,bigint,integer,text,text,boolean,text)",
    "fail_answer(uuid,integer,text,boolean,double precision,integer)",
    "finish_answer(uuid,integer,text,text,integer[],text[],jsonb[])",
    "heartbeat(integer,text,integer[],text[],integer[])",
    "interface(boolean)",
    "mark_alone(text,bigint,integer)",
    "metrics()",
    "models()",
    "parse_pipelines()",
    "pin_model(integer,text)",
    "probe_model(integer,real[])",
    "note_unserved(integer,text,boolean,integer)",
    "note_served(integer,boolean,integer)",
    "read(integer,jsonb[])",
    "read_chunks(integer,jsonb[])",
    "read_files(integer,jsonb[],text,bigint)",
    "read_uris(integer,jsonb[],text)",
    "due_listings()",
    "begin_listing(integer)",
    "add_objects(integer,integer,json)",
    "finish_listing(integer,integer,bigint,text)",
    "fail_listing(integer,integer,text)",
    "note_file(integer,jsonb,bytea,bytea,text,text,text)",
    "store_pages(text,integer,bigint[],integer[],bytea[],text[],json,text,bytea[],text[])",
    "release(text,bigint[],integer[],double precision,text)",
    "release_answers(uuid[],integer[])",
    "release_pushed(jsonb,double precision)",
    "schema_version()",
    "events(bigint[],pg_snapshot)",
    "set_idle(boolean)",
    "workers()",
    "stop_pipeline(integer,text)",
    "store(text,integer,bigint[],integer[],bytea[],vector[],integer[],integer)",
    (
        "store_chunks(text,integer,bigint[],integer[],bytea[],integer[],integer[],integer[],text[],integer[],integer[],"
        "bytea[],vector[],integer[],integer[],integer)"
    ),
    "take_embed_requests(integer,integer,boolean)",
    "tick(double precision,double precision)",
    "allowed_s(integer)",
    "note_slow(integer,double precision,double precision,boolean)",
    "note_slow_change(jsonb,double precision)",
    "end_turn(integer)",
    "use_provider(text,bigint,bigint,bigint)",
    "write_answers(uuid[],integer[],text[],jsonb[])",
}


MAY_EXECUTE = """
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace, 'pgmq'::regnamespace)
      and has_schema_privilege(%(role)s, p.pronamespace, 'usage') and has_function_privilege(%(role)s, p.oid, 'execute')
"""


MAY_TOUCH = """
    select c.oid::regclass::text from pg_class c
    where c.relnamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace, 'pgmq'::regnamespace,
        'public'::regnamespace)
      and case c.relkind when 'S' then has_sequence_privilege(%(role)s, c.oid, 'usage, select, update')
          when 'i' then false when 'c' then false
          else has_table_privilege(%(role)s, c.oid, 'select, insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(%(role)s, c.oid, 'select, insert, update, references') end
"""


def names(connection: psycopg.Connection, query: str, role: str) -> set[str]:
    of_ours = re.compile(r"^pgembedd(_internal)?\.")
    return {of_ours.sub("", row[0]) for row in connection.execute(query, {"role": role}).fetchall()}


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A pipeline, so that there is generated code, too."""
    make_documents(connection, 2)
    create_pipeline(connection, on_update="clear")


def test_the_workers_role_may_call_exactly_this(documents: psycopg.Connection) -> None:
    assert names(documents, MAY_EXECUTE, "pgembedd_worker") == WORKER_FUNCTIONS
    assert names(documents, MAY_TOUCH, "pgembedd_worker") == set()


def test_public_has_nothing(roles: Roles, documents: psycopg.Connection) -> None:
    nobody = roles.make("nobody")
    assert names(documents, MAY_TOUCH, nobody) == set()
    for schema in ("pgembedd", "pgmq"):
        assert value(documents, f"select has_schema_privilege('{nobody}', '{schema}', 'usage')") is False
    # Not even with the schema opened by mistake.
    documents.execute(f"grant usage on schema pgembedd, pgembedd_internal to {nobody}")
    assert {name for name in names(documents, MAY_EXECUTE, nobody) if not name.startswith("pgmq.")} == set()


@pytest.mark.parametrize("grant", ["worker", "operator", "search", "ask", "embed", "demand"])
@pytest.mark.parametrize("role", ["null", "0::regrole", "4294967295::regrole"])
def test_a_role_that_is_not_there_is_a_sentence(connection: psycopg.Connection, grant: str, role: str) -> None:
    named = {"null": "NULL", "0::regrole": "-"}.get(role, role.removesuffix("::regrole"))
    with refused(f"There is no role {named}.", "Name one that exists"):
        connection.execute(f"select pgembedd.grant_{grant}({role})".encode())


def test_an_upgrade_gives_a_role_what_the_worker_needs_now(
    roles: Roles, database: Database, documents: psycopg.Connection
) -> None:
    role = roles.make("worker")
    documents.execute("select pgembedd.grant_worker(%s)", [role])
    documents.execute(f"revoke execute on function pgembedd.tick from {role}".encode())  # as if it were new
    migrate(database.conninfo)
    assert names(documents, MAY_EXECUTE, role) == WORKER_FUNCTIONS


def test_a_role_without_the_rights_lacks_as_many_functions_as_are_granted(
    roles: Roles, documents: psycopg.Connection
) -> None:
    documents.execute(f"set role {roles.make('nobody')}".encode())
    assert missing_worker_functions(documents) == len(WORKER_FUNCTIONS)


def test_a_worker_of_ones_own_role_works(roles: Roles, database: Database, documents: psycopg.Connection) -> None:
    role = roles.make("worker")
    documents.execute("select pgembedd.grant_worker(%s)", [role])
    assert names(documents, MAY_EXECUTE, role) == WORKER_FUNCTIONS
    with connect_as(database, role) as worker:
        learn_vector(worker)
        documents.execute("insert into documents values (3, 'x')")
        assert set(work(worker).values()) == {"written"}
        worker.execute("select pgembedd.tick(0, 0), pgembedd_internal.set_idle(true)")
        for forbidden in (
            "select * from documents",
            "select * from pgembedd_internal.pipeline",
            "select * from pgembedd_internal.push",
            "select pgembedd.set_push('http://localhost')",
            "select pgembedd.process_embeddings()",
            "select * from pgembedd.status",
            "select * from pgmq.q_pgembedd_fresh",
            "select pgembedd_code.pipeline_1_read('{}')",
            "select pgembedd.pause('documents')",
            "select pgembedd_internal._repair()",
            "select nextval('pgembedd_internal.worker_idle')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(forbidden)


def test_another_role_cannot_attach_our_trigger_function(
    roles: Roles, database: Database, documents: psycopg.Connection
) -> None:
    stranger = roles.make("stranger")
    documents.execute(f"grant create on schema public to {stranger}")
    documents.execute(f"grant usage on schema pgembedd, pgembedd_internal to {stranger}")
    with connect_as(database, stranger) as theirs:
        theirs.execute("create table theirs (id int primary key, title text, content text, embedding halfvec(3))")
        for function in ("on_insert", "on_update", "clear"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute(f"""
                    create trigger evil after insert on theirs referencing new table as new_rows
                    for each statement execute function pgembedd_code.pipeline_1_{function}()
                """)
