"""`pgembedd migrate`"""

import click

from pgembedd.cli.options import database_option, describe, open_database
from pgembedd.database.connect import connect
from pgembedd.database.migrate import downgrade, has_schema, migrate_unless_newer
from pgembedd.database.own_version import HEAD
from pgembedd.doctor.rights import check_role
from pgembedd.errors import SchemaError


@click.command("migrate")
@database_option
@click.option("--down", is_flag=True, help="Remove what pgembedd installed; tables, columns and vectors stay.")
def command(database: str | None, down: bool) -> None:
    """Install or upgrade the schema pgembedd; after a restore, repair it. Safe to repeat."""
    with open_database(database, create=not down) as conninfo:
        if down:
            with connect(conninfo) as connection:
                if not has_schema(connection):
                    raise SchemaError(f"There is no pgembedd schema in {describe(conninfo)}: nothing was removed.")
            downgrade(conninfo)
            click.echo(
                f"pgembedd is removed from {describe(conninfo)}; your tables, columns and vectors are still there."
            )
        else:
            newer = migrate_unless_newer(conninfo)
            click.echo(f"{describe(conninfo)} is at pgembedd schema {newer or HEAD}.")
            if newer:
                click.echo(f"That is newer than this program's {HEAD}, which works with it: nothing was changed.")
            with connect(conninfo) as connection:
                for finding in check_role(connection):
                    click.echo(f"{finding.level}: {finding.text}. {finding.remedy}")
