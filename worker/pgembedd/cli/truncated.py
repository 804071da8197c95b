"""`pgembedd truncated`"""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgembedd.cli.options import IntegerRange, database_option, open_connection, print_json
from pgembedd.database.queries import query
from pgembedd.text.quantities import counted

Row = tuple[Any, ...]


@click.command("truncated")
@click.argument("pipeline", required=False)
@database_option
@click.option("--limit", "-n", type=IntegerRange(1), default=20, show_default=True, help="How many rows to list.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
def command(pipeline: str | None, database: str | None, limit: int, as_json: bool) -> None:
    """List rows whose text was cut at the model's limit, of PIPELINE or of all; those that lost most come first."""
    with open_connection(database) as connection:
        values = {"name": pipeline, "limit": limit}
        rows = connection.execute(query("truncated"), values).fetchall()
        if as_json:
            for name, key, dropped_tokens, since in rows:
                print_json({"pipeline": name, "key": json.loads(key), "dropped_tokens": dropped_tokens, "since": since})
            return
        shares = connection.execute(query("truncated_share"), values).fetchall()
    Console().print(_table(rows, shares) if rows else "No text was cut.")


def _table(rows: list[Row], shares: list[Row]) -> Table:
    caption = "\n".join(_share(*share) for share in shares)
    table = Table(box=None, padding=(0, 2, 0, 0), caption=caption, caption_justify="left", caption_style="")
    table.add_column("pipeline", overflow="fold")
    table.add_column("key", overflow="fold")
    table.add_column("tokens cut", justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    for pipeline, key, dropped_tokens, since in rows:
        table.add_row(pipeline, Text(key), str(dropped_tokens), f"{since:%Y-%m-%d %H:%M}")
    return table


def _share(pipeline: str, cut: int, total: int | None) -> str:
    """Returns the share of cut rows of a pipeline, in words."""
    if not total:
        return f"{pipeline}: {counted(cut, 'row')} cut"
    return f"{pipeline}: {cut:,} of {counted(max(total, cut), 'row')} cut ({min(cut / total, 1) * 100:.1f} %)"
