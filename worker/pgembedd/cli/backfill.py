"""`pgembedd backfill`"""

import click
from rich.console import Console

from pgembedd.cli.options import database_option, open_connection
from pgembedd.cli.progress_bar import watch_queue
from pgembedd.database.queries import query
from pgembedd.text.quantities import counted


@click.command("backfill")
@click.argument("pipeline")
@database_option
@click.option("--force", is_flag=True, help="Every row, also those that have a vector.")
@click.option("--wait/--no-wait", default=True, help="Stay and show the progress until nothing is queued.")
def command(pipeline: str, database: str | None, force: bool, wait: bool) -> None:
    """Queue the rows of PIPELINE that have no vector and are not queued yet."""
    with open_connection(database) as connection:
        # The server says where the number is an estimate.
        connection.add_notice_handler(lambda notice: click.echo(notice.message_primary, err=True))
        row = connection.execute(query("backfill"), {"name": pipeline, "force": force}).fetchone()
        click.echo(f"{counted(row[0] if row else 0, 'row')} queued.")
        if wait:
            watch_queue(connection, pipeline, Console(stderr=True))
