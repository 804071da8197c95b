"""`pgembedd status`"""

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pgembedd.cli.options import database_option, open_connection, print_json
from pgembedd.database.queries import query
from pgembedd.text.quantities import age, counted, share

OUTSTANDING = ("deferred", "due", "building", "invalid", "dropped")
COLUMNS: dict[str, Callable[[dict[str, Any]], object]] = {
    "done": lambda row: share(row["coverage"]),
    "queued": lambda row: f"{'~' if row['queued_estimated'] else ''}{row['queued']}",
    "backfill": itemgetter("queued_backfill"),
    "oldest": lambda row: age(row["oldest_age_s"]),
    "failing": itemgetter("failing"),
    "dead": itemgetter("dead"),
    "blank": itemgetter("blank"),
    "cut": itemgetter("truncated"),
    "rows/min": itemgetter("rows_per_minute"),
    "left": lambda row: age(row["time_left_s"]),
    "lag": lambda row: age(row["lag_s"]),
}
"""What each column shows of a row."""
# The first goes first where a terminal is narrow.
DISPENSABLE = ("cut", "blank", "rows/min", "lag", "left", "backfill", "failing", "done", "oldest")
NAME = 16  # characters of a pipeline that stay on one line
UNCUT = 10_000
COLORS = {"running": "green", "stalled": "yellow", "unserved": "yellow", "paused": "yellow", "stopped": "red"}


@click.command("status")
@database_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a pipeline.")
def command(database: str | None, watch: bool, as_json: bool) -> None:
    """Show coverage, queues, failures and throughput of each pipeline."""
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other.")
    with open_connection(database) as connection:
        if as_json:
            for row in _rows(connection):
                print_json(row)
        elif watch:
            _watch(connection)
        else:
            console = _console()
            console.print(_fitting(_rows(connection), console), soft_wrap=not console.is_terminal)
            for provider, tokens, requests in connection.execute(query("provider_use_today")):
                used = f"{counted(tokens, 'token')} in {counted(requests, 'request')}"
                console.print(f"{provider} today (UTC): {used}.", highlight=False)


def _console() -> Console:
    """Returns a console; lines for a pipe or a file are not cut."""
    console = Console()
    return console if console.is_terminal else Console(width=UNCUT)


def _watch(connection: psycopg.Connection) -> None:
    console = Console()
    with Live(_fitting(_rows(connection), console), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(_fitting(_rows(connection), console), refresh=True)


def _rows(connection: psycopg.Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("status")).fetchall()


def _fitting(rows: list[dict[str, Any]], console: Console) -> Table | str:
    """Returns the table; on a narrow terminal without the least important columns."""
    if not rows:
        return "No pipelines yet: select pgembedd.create_pipeline(...) makes one."
    uncut = console.options.update(width=UNCUT)
    for count in range(len(DISPENSABLE) + 1):
        table = _table(rows, DISPENSABLE[:count])
        if console.measure(table, options=uncut).minimum <= console.width:
            break
    return table


def _table(rows: list[dict[str, Any]], left_out: tuple[str, ...] = ()) -> Table:
    unknown = "done" not in left_out and any(row["coverage"] is None for row in rows)
    note = ["done is ? while a table is locked by DDL, or gone."] if unknown else []
    note += [f"Too narrow for: {', '.join(left_out)}."] if left_out else []
    caption = "\n".join(_reasons(rows) + note) or None
    table = Table(box=None, padding=(0, 1, 0, 0), caption=caption, caption_justify="left", caption_style="")
    longest = max(len(row["pipeline"]) for row in rows)
    table.add_column("pipeline", overflow="fold", min_width=min(longest, NAME))
    table.add_column("state", no_wrap=True)
    for column in COLUMNS:
        if column not in left_out:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        state = row["state"]
        shown = [str(cell(row)) for column, cell in COLUMNS.items() if column not in left_out]
        table.add_row(escape(row["pipeline"]), f"[{COLORS[state]}]{state}[/]", *shown)
    return table


def _reasons(rows: list[dict[str, Any]]) -> list[str]:
    reasons = [f"{row['pipeline']}: {row['reason']}" for row in rows if row["reason"]]
    # A valid index, or none that was asked for, is nothing to talk about.
    indexes = [f"{row['pipeline']}: its index is {row['index']}" for row in rows if row["index"] in OUTSTANDING]
    return [escape(line) for line in reasons + indexes]
