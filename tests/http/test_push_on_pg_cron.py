"""Push mode on a real pg_cron, from the insert to the vector; pg_net is a stand-in."""

from __future__ import annotations

import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.model import Session
from tests.support.documents import insert, make_documents, missing
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.pg_cron import CronServer
from tests.support.pg_net_standin import carrying, install
from tests.support.sql import call, connected, rows, value
from tests.support.waiting import eventually

PATH = "/functions/v1/embed"
JOBS = "select schedule, command from cron.job where jobname = 'pgembedd-push'"
COMMAND = "select pgembedd.process_embeddings()"
FAILED = "select count(*) from cron.job_run_details where status = 'failed'"


@pytest.mark.slow
def test_pg_cron_posts_what_is_queued(cron_server: CronServer, model: Session) -> None:
    conninfo = cron_server.database.conninfo
    migrate(conninfo)
    with (
        serving(only(model), conninfo, http_token=TOKEN) as client,
        connected(cron_server.database) as connection,
        carrying(cron_server.database),
    ):
        url = str(client.base_url.join(PATH))
        try:
            make_documents(connection)
            said = call(connection, "set_push", url=url, token=TOKEN, every="1 second")
            assert "pg_net is not in this database" in said
            assert rows(connection, JOBS) == []
            install(connection)
            migrate(conninfo)
            assert rows(connection, JOBS) == [("1 second", COMMAND)]
            insert(connection, [1, 2])
            eventually(lambda: missing(connection) == [])
            eventually(
                lambda: value(connection, "select count(*) from net._http_response where status_code = 200") == 1
            )
            assert value(connection, FAILED) == 0  # an empty queue is no error either
            said = call(connection, "set_push", url=url, every="* * * * *")
            assert said == f"pg_cron posts waiting jobs to {url} (* * * * *)."
            off = "select cron.alter_job(jobid, active => false) from cron.job where jobname = 'pgembedd-push'"
            connection.execute(off)
            migrate(conninfo)
            assert rows(connection, JOBS) == [("* * * * *", COMMAND)]
            assert value(connection, "select active from cron.job where jobname = 'pgembedd-push'") is False
            assert call(connection, "set_push", url=None) == "Nothing is pushed."
            assert rows(connection, JOBS) == []
        finally:
            downgrade(conninfo)
        assert value(connection, "select count(*) from cron.job") == 0
        connection.execute("drop table documents; drop extension pg_cron")
    with connected(cron_server.database) as connection:
        connection.execute("drop schema net cascade")
