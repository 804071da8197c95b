"""The guide's own schedule on a real pg_cron is found by the doctor."""

from __future__ import annotations

from pathlib import Path

import psycopg

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.doctor import examine
from tests.support.pg_cron import CronServer


def complaints(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Returns the doctor's findings on queues, with their remedies."""
    return [
        (each.text, each.remedy) for each in examine(connection, Path()) if (each.level, each.about) == ("bad", "queue")
    ]


def test_the_doctor_finds_the_guides_schedule(cron_server: CronServer) -> None:
    migrate(cron_server.database.conninfo)
    with cron_server.database.connect() as connection:
        try:
            connection.execute("create schema util")
            connection.execute("create function util.process_embeddings() returns void language sql begin atomic end")
            assert complaints(connection) == []
            connection.execute(
                "select cron.schedule('process-embeddings', '0 0 1 1 *', 'select util.process_embeddings();')"
            )
            ((text, remedy),) = complaints(connection)
            assert text == "the cron job 'process-embeddings' works the queue embedding_jobs, too"
            connection.execute(remedy.encode())
            assert complaints(connection) == []
        finally:
            connection.execute("drop schema util cascade")
            downgrade(cron_server.database.conninfo)
        connection.execute("drop extension pg_cron")
