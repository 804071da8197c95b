"""`pgembedd uninstall`"""

import click

from pgembedd.cli.confirmation import confirm, yes_option
from pgembedd.cli.options import database_option, describe, open_database
from pgembedd.database.connect import connect
from pgembedd.database.migrate import downgrade, has_schema
from pgembedd.errors import SchemaError


@click.command("uninstall")
@database_option
@yes_option
def command(database: str | None, yes: bool) -> None:
    """Remove pgembedd from the database: its pipelines, jobs and answers. Tables, columns and vectors stay."""
    with open_database(database) as conninfo:
        with connect(conninfo) as connection:
            if not has_schema(connection):
                raise SchemaError(f"There is no pgembedd schema in {describe(conninfo)}: nothing was removed.")
        confirm(f"This removes pgembedd, with all pipelines, jobs and answers, from {describe(conninfo)}.", yes=yes)
        downgrade(conninfo)
        click.echo(f"pgembedd is removed from {describe(conninfo)}; your tables, columns and vectors are still there.")
