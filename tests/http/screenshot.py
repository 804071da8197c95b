"""Makes docs/images/page.png: `python -m tests.http.screenshot`. The numbers on it are invented."""

from __future__ import annotations

import math
from pathlib import Path

import psycopg
from playwright.sync_api import ViewportSize

from pgembedd.database.migrate import migrate
from pgembedd.model import Session
from tests.support.browser import running_browser
from tests.support.databases import fresh_database, running_server
from tests.support.embedders import MODEL, only
from tests.support.http import serving
from tests.support.presence import beat
from tests.support.sql import BACKFILL, call, claim, fail

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
PIPELINES = {"documents": 0.0, "products": 2.0, "tickets": 4.0}


def main() -> None:
    """Write the picture."""
    with (
        running_server() as server,
        fresh_database(server) as database,
        Session(MODEL, threads=2, notify=print) as model,
    ):
        migrate(database.conninfo)
        with database.connect() as connection:
            for name, phase in PIPELINES.items():
                _pipeline(connection, name, phase)
            _dead_letters(connection)
        with (
            database.connect() as worker,
            serving(only(model), database.conninfo) as client,
        ):
            beat(worker)
            _shoot(str(client.base_url))


def _pipeline(connection: psycopg.Connection, name: str, phase: float) -> None:
    connection.execute(f"create table {name} (id int primary key, body text)")
    connection.execute(f"insert into {name} select i, 'text ' || i from generate_series(1, 400) i")
    call(connection, "create_pipeline", pipeline=name, source=name, model=MODEL, content_columns=["body"])
    connection.execute(f"update {name} set embedding = array_fill(0.05, array[384])::halfvec where id > 10")
    number = connection.execute("select id from pgembedd_internal.pipeline where name = %s", (name,)).fetchone()
    for minute in range(61):
        waiting = max(0, round(90 * math.sin(minute / 9 + phase) + 40 + 15 * math.sin(minute * 2.1)))
        rows = max(0, round(160 + 90 * math.cos(minute / 7 + phase) + 25 * math.sin(minute * 1.7)))
        values = {"id": number[0] if number else 0, "minute": minute, "waiting": waiting, "rows": rows}
        for statement in MINUTE:
            connection.execute(statement, values)


MINUTE = [
    """insert into pgembedd_internal.sample (at, pipeline_id, queued, backfill, oldest_age, failing, dead)
       select now() - make_interval(mins => %(minute)s), id, %(waiting)s, 0, make_interval(secs => %(waiting)s / 9.0),
              0, 0
       from unnest(array[%(id)s, null]::int[]) id""",
    """insert into pgembedd_internal.activity (at, pipeline_id, written, cleared, unchanged, gone, lag)
       values (now() - make_interval(mins => %(minute)s), %(id)s, %(rows)s, 0, 0, 0,
               make_interval(secs => 0.4 + %(waiting)s / 60.0))""",
]


def _dead_letters(connection: psycopg.Connection) -> None:
    """Three jobs are dead letters, and a pipeline is stopped; of the others a few still wait."""
    for job in claim(connection, BACKFILL, 2000):
        if job.pipeline == "tickets" and job.id <= 3:
            fail(connection, job, "content", "division by zero", permanent=True)
    connection.execute("delete from pgmq.q_pgembedd_backfill where (message ->> 'id')::int > 4")
    connection.execute("delete from pgmq.q_pgembedd_fresh where (message ->> 'id')::int > 24")
    reason = 'public.tickets has no column "body" any more. Rename it back, or drop the pipeline.'
    connection.execute(
        "select pgembedd_internal.stop_pipeline(id, %s) from pgembedd_internal.pipeline where name = 'tickets'",
        (reason,),
    )


def _shoot(address: str) -> None:
    with running_browser() as browser:
        page = browser.new_page(viewport=ViewportSize(width=1100, height=660))
        page.goto(address)
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
