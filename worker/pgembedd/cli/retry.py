"""`pgembedd retry`"""

import click

from pgembedd.cli.options import database_option, open_connection
from pgembedd.database.queries import query
from pgembedd.text.quantities import counted


@click.command("retry")
@click.argument("pipeline", required=False)
@database_option
@click.option("--reason", help="Only dead letters with this reason; see pgembedd.dead_letters.")
def command(pipeline: str | None, database: str | None, reason: str | None) -> None:
    """Put dead letters back into the queue: of PIPELINE, or of all."""
    with open_connection(database) as connection:
        row = connection.execute(query("retry_dead_letters"), {"name": pipeline, "reason": reason}).fetchone()
        click.echo(f"{counted(row[0] if row else 0, 'job')} queued again.")
