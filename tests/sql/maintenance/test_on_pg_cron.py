"""The upkeep on a real pg_cron."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.databases import fresh_database
from tests.support.documents import await_quiet, missing
from tests.support.documents import make_documents as make_table
from tests.support.pg_cron import CronServer
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.sql import BACKFILL, column, connected, create_pipeline, make_documents, queued, value, vectors
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess


@pytest.mark.slow
def test_pg_cron_sweeps_what_nobody_queued(cron_server: CronServer) -> None:
    migrate(cron_server.database.conninfo)
    with connected(cron_server.database) as connection:
        try:
            assert value(connection, "select count(*) from pg_extension where extname = 'pg_cron'") == 1
            job = value(connection, "select jobid from cron.job where jobname = 'pgembedd-tick'")
            make_documents(connection)
            create_pipeline(connection)
            connection.execute("alter table documents disable trigger all")
            connection.execute("insert into documents (id, title) values (1, 'nobody queued this')")
            connection.execute("select cron.alter_job(%s, schedule => '1 second')", (job,))
            eventually(lambda: queued(connection, BACKFILL) == [1])
            assert value(connection, "select swept_at > '-infinity' from pgembedd_internal.installation")
            connection.execute("select cron.schedule('pgembedd-no-more', '0 0 1 1 *', 'select pgembedd.no_more()')")
            migrate(cron_server.database.conninfo)
            assert column(connection, "select jobname from cron.job") == ["pgembedd-tick"]
        finally:
            downgrade(cron_server.database.conninfo)
        assert value(connection, "select count(*) from cron.job") == 0
        connection.execute("drop table documents")
        connection.execute("drop extension pg_cron")


@pytest.mark.slow
def test_two_databases_of_one_server_know_nothing_of_each_other(cron_server: CronServer) -> None:
    """pg_cron in one of them, one role for the workers of both, and each goes without the other."""
    with temporary_roles(cron_server.server) as roles, fresh_database(cron_server.server) as second:
        worker = roles.make("worker")
        first = cron_server.database
        with ExitStack() as used:
            connections = {}
            for database in (first, second):
                migrate(database.conninfo)
                connections[database] = connection = used.enter_context(connected(database))
                connection.execute(f"select pgembedd.grant_worker('{worker}')")
                make_table(connection)
                used.enter_context(WorkerProcess(conninfo_as(database, worker)))
            assert column(connections[first], "select database from cron.job") == [first.name]
            for database, connection in connections.items():
                connection.execute("insert into documents values (1, %s)", (database.name,))
                await_quiet(connection)
                assert value(connection, "select count(*) from pgembedd.workers()") == 1
                assert missing(connection) == []
            assert vectors(connections[first]) != vectors(connections[second])

            connections[first].execute("drop table documents cascade")
            downgrade(first.conninfo)
            assert value(connections[first], "select count(*) from cron.job") == 0
            connections[second].execute("insert into documents values (2, 'the other is gone')")
            await_quiet(connections[second])
            assert missing(connections[second]) == []
            value(connections[second], "select pgembedd.sweep()")
            connections[first].execute("drop extension pg_cron")
