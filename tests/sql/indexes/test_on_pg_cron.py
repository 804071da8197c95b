"""pg_cron builds an index where no worker may."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.indexes import hnsw_indexes, index_state, make_due, outstanding
from tests.support.pg_cron import CronServer
from tests.support.sql import column, connected, create_pipeline, make_documents, rows, value, work
from tests.support.waiting import eventually

JOBS = "select jobname from cron.job where jobname like 'pgembedd-index-%'"
SOONER = "select cron.alter_job(jobid, schedule => '1 second') from cron.job where jobname like 'pgembedd-index-%'"
FEWER = """
    create or replace function pgembedd_internal._many_rows() returns bigint language sql immutable
    set search_path = pg_catalog, pg_temp as $$ select 2000::bigint $$
"""
PARTS = """
    create table parts (id int primary key, title text, content text) partition by range (id);
    create table low partition of parts for values from (0) to (10);
    create table high partition of parts for values from (10) to (20);
    insert into parts values (1, 'one', ''), (11, 'eleven', '');
"""


@pytest.mark.slow
def test_pg_cron_builds_what_nobody_else_does(cron_server: CronServer) -> None:
    migrate(cron_server.database.conninfo)
    with connected(cron_server.database) as connection:
        try:
            connection.execute("select cron.unschedule('pgembedd-tick')")  # here it is called by hand
            connection.execute(FEWER)
            make_documents(connection, 2000)
            create_pipeline(connection, index_type="hnsw")
            assert index_state(connection) == "deferred", "pg_cron can build it"
            connection.execute(PARTS)
            create_pipeline(connection, pipeline="parts", source="parts", index_type="hnsw", index_when="later")
            work(connection)
            make_due(connection)
            connection.execute("select pgembedd.tick(0)")
            assert rows(connection, JOBS) == [], "workers go first"
            make_due(connection, "6 minutes")
            eventually(lambda: tended(connection))
            assert set(hnsw_indexes(connection).values()) == {True}
            assert rows(connection, JOBS) == []
        finally:
            connection.execute("drop table if exists documents, parts")
            downgrade(cron_server.database.conninfo)
        assert value(connection, "select count(*) from cron.job") == 0
        connection.execute("drop extension pg_cron")


def tended(connection: psycopg.Connection) -> bool:
    """One round of the upkeep, with pg_cron's minutes made seconds; whether all is built."""
    connection.execute("select pgembedd.tick(0)")
    column(connection, SOONER)
    return outstanding(connection) == []
