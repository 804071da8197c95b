"""The server with pg_cron runs jobs."""

from __future__ import annotations

import psycopg

from tests.support.pg_cron import CronServer
from tests.support.waiting import eventually


def test_a_job_fires(cron_server: CronServer) -> None:
    with cron_server.database.connect() as connection:
        connection.execute("create extension pg_cron")
        connection.execute("create table ticks (at timestamptz default clock_timestamp())")
        connection.execute("select cron.schedule('tick', '1 second', 'insert into ticks default values')")
        try:
            eventually(lambda: _ticks(connection) >= 2)
        finally:
            connection.execute("select cron.unschedule('tick')")
            connection.execute("drop table ticks")
            connection.execute("drop extension pg_cron")


def _ticks(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from ticks").fetchone()
    assert row is not None
    return int(row[0])
