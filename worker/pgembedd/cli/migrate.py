"""`pgembedd migrate`"""

import click

from pgembedd.cli.options import database_option, describe, open_database
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate_unless_newer
from pgembedd.database.own_version import HEAD
from pgembedd.doctor.rights import check_role


@click.command("migrate")
@database_option
def command(database: str | None) -> None:
    """Install or upgrade the schema pgembedd; after a restore, repair it. Safe to repeat."""
    with open_database(database, create=True) as conninfo:
        newer = migrate_unless_newer(conninfo)
        click.echo(f"{describe(conninfo)} is at pgembedd schema {newer or HEAD}.")
        if newer:
            click.echo(f"That is newer than this program's {HEAD}, which works with it: nothing was changed.")
        with connect(conninfo) as connection:
            for finding in check_role(connection):
                click.echo(f"{finding.level}: {finding.text}. {finding.remedy}")
