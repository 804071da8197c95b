"""The schedule of pushes on a real pg_cron; pg_net is a stand-in."""

from __future__ import annotations

from tests.support.pg_cron import CronServer
from tests.support.pg_net_standin import install
from tests.support.sql import call, connected, create_pipeline, make_documents, rows, value
from tests.support.waiting import eventually
from worker.migrate import downgrade, migrate

URL = "http://127.0.0.1:8432/functions/v1/embed"
JOBS = "select schedule, command from cron.job where jobname = 'pgembedd-push'"
COMMAND = "select pgembedd.process_embeddings()"


def test_pg_cron_posts_what_is_queued(cron_server: CronServer) -> None:
    conninfo = cron_server.database.conninfo
    migrate(conninfo)
    with connected(cron_server.database) as connection:
        try:
            make_documents(connection)
            create_pipeline(connection)
            connection.execute("insert into documents (id, title) values (1, 'text')")
            said = call(connection, "set_push", url=URL, every="1 second")
            assert "pg_net is not in this database" in said
            assert rows(connection, JOBS) == []
            install(connection)
            migrate(conninfo)
            assert rows(connection, JOBS) == [("1 second", COMMAND)]
            eventually(lambda: value(connection, "select count(*) from net.http_request_queue") == 1)
            assert (
                value(connection, "select convert_from(body, 'UTF8')::jsonb -> 0 -> 'id' from net.http_request_queue")
                == 1
            )
            failed = "select count(*) from cron.job_run_details where status = 'failed'"
            assert value(connection, failed) == 0  # and an empty queue is no error either
            said = call(connection, "set_push", url=URL, every="* * * * *")
            assert said == f"pg_cron posts waiting jobs to {URL} (* * * * *)."
            connection.execute(
                "select cron.alter_job(jobid, active => false) from cron.job where jobname = 'pgembedd-push'"
            )
            migrate(conninfo)
            assert rows(connection, JOBS) == [("* * * * *", COMMAND)]
            assert value(connection, "select active from cron.job where jobname = 'pgembedd-push'") is False
            assert call(connection, "set_push", url=None) == "Nothing is pushed."
            assert rows(connection, JOBS) == []
        finally:
            downgrade(conninfo)
        assert value(connection, "select count(*) from cron.job") == 0
        connection.execute("drop table documents; drop schema net cascade; drop extension pg_cron")
