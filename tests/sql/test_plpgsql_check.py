"""plpgsql_check finds no fault in our functions: a name that is not there, a type that does not fit."""

from __future__ import annotations

import pytest

from pgembedd.database.migrate import migrate
from tests.support.databases import fresh_database
from tests.support.extension_package import offering_server
from tests.support.sql import create_pipeline, make_documents, rows

FUNCTIONS = """
    select p.oid::regprocedure::text, c.message
    from pg_proc p join pg_language l on l.oid = p.prolang
    cross join lateral plpgsql_check_function_tb(p.oid, fatal_errors => false) c
    where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace, 'pgembedd_code'::regnamespace)
      and l.lanname = 'plpgsql' and p.prorettype <> 'trigger'::regtype
      and (c.level = 'error' or c.message ~ '^unused variable|shadowed')
"""

# What it cannot know: objects of extensions and of the guide that are optional, and rows of dynamic statements.
UNKNOWN = (
    'schema "cron" does not exist',
    'relation "cron.job" does not exist',
    'schema "net" does not exist',
    'relation "net._http_response" does not exist',
    'relation "pg_catalog.pg_dist_partition" does not exist',
    'relation "_timescaledb_catalog.hypertable" does not exist',
    'relation "pgmq.q_embedding_jobs" does not exist',
    'type "pgmq.q_embedding_jobs" does not exist',
    'record "job" is not assigned yet',
    'record "one" is not assigned yet',
    'record "seen" is not assigned yet',
)


@pytest.mark.slow
def test_functions_have_no_fault_that_can_be_seen() -> None:
    with offering_server("plpgsql_check", "postgresql-18-plpgsql-check") as server, fresh_database(server) as database:
        migrate(database.conninfo)
        with database.connect() as connection:
            connection.execute("create extension plpgsql_check")
            connection.execute(
                "create function pgembedd.faulty() returns int language plpgsql as "
                "'declare kept int; begin return missing; end'"
            )
            make_documents(connection)
            create_pipeline(connection, enable_always=True, on_update="clear")
            create_pipeline(connection, pipeline="chunked", embedding_table="chunks", enable_always=True)
            found = {row for row in rows(connection, FUNCTIONS) if row[1] not in UNKNOWN}
    assert found == {
        ("pgembedd.faulty()", 'column "missing" does not exist'),
        ("pgembedd.faulty()", 'unused variable "kept"'),
    }
