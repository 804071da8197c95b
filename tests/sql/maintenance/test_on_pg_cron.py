"""The upkeep on a real pg_cron."""

from __future__ import annotations

import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.pg_cron import CronServer
from tests.support.sql import BACKFILL, column, connected, create_pipeline, make_documents, queued, value
from tests.support.waiting import eventually


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
