"""`pgembedd status`"""

import json
import time
from datetime import datetime, timedelta
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.live import Live
from rich.table import Table

from worker.cli.options import database_option, open_connection
from worker.queries import query
from worker.words import age, share

OUTSTANDING = ("deferred", "due", "building", "invalid")
COLORS = {"running": "green", "paused": "yellow", "stopped": "red"}


@click.command("status")
@database_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a pipeline.")
def command(database: str | None, watch: bool, as_json: bool) -> None:
    """How far each pipeline is, what is queued and since when, what failed, how fast it goes."""
    with open_connection(database) as connection:
        if as_json:
            for row in _rows(connection):
                click.echo(json.dumps(row, default=_plain))
        elif watch:
            _watch(connection)
        else:
            Console().print(_table(_rows(connection)))


def _watch(connection: psycopg.Connection) -> None:
    with Live(_table(_rows(connection)), auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(_table(_rows(connection)), refresh=True)


def _rows(connection: psycopg.Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("status")).fetchall()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _table(rows: list[dict[str, Any]]) -> Table | str:
    if not rows:
        return "No pipelines yet: select pgembedd.create_pipeline(...) makes one."
    table = Table(box=None, padding=(0, 1, 0, 0), caption=_reasons(rows), caption_justify="left", caption_style="")
    table.add_column("pipeline", overflow="fold")
    table.add_column("state", no_wrap=True)
    for column in ("done", "queued", "backfill", "oldest", "failing", "dead", "blank", "cut", "rows/min", "lag"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        state = row["state"]
        numbers = ("queued", "backfill", "failing", "dead", "blank", "truncated", "rows_per_minute")
        queued, backfill, *others = (str(row[name]) for name in numbers)
        table.add_row(
            row["pipeline"],
            f"[{COLORS[state]}]{state}[/]",
            share(row["coverage"]),
            queued,
            backfill,
            age(row["oldest_age"]),
            *others,
            age(row["lag"]),
        )
    return table


def _reasons(rows: list[dict[str, Any]]) -> str | None:
    reasons = [f"{row['pipeline']}: {row['reason']}" for row in rows if row["reason"]]
    # A valid index, or none that was asked for, is nothing to talk about.
    indexes = [f"{row['pipeline']}: its index is {row['index']}" for row in rows if row["index"] in OUTSTANDING]
    return "\n".join(reasons + indexes) or None
