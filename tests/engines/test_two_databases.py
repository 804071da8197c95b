"""Two databases of one server, pg_cron in one of them, and one role for the workers of both."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.databases import fresh_database
from tests.support.documents import await_quiet, make_documents, missing
from tests.support.pg_cron import CronServer
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.sql import column, connected, value, vectors
from tests.support.worker import WorkerProcess


@pytest.mark.engines
def test_two_databases_of_one_server_know_nothing_of_each_other(cron_server: CronServer) -> None:
    """Each has its own workers, jobs and rows, and goes without the other."""
    with temporary_roles(cron_server.server) as roles, fresh_database(cron_server.server) as second:
        worker = roles.make("worker")
        first = cron_server.database
        with ExitStack() as used:
            connections = {}
            for database in (first, second):
                migrate(database.conninfo)
                connections[database] = connection = used.enter_context(connected(database))
                connection.execute(f"select pgembedd.grant_worker('{worker}')")
                make_documents(connection)
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
