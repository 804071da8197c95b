"""`pgembedd up`"""

import click

from worker.cli.options import database_option, describe, open_database, settings_options
from worker.cli.run import leave, work
from worker.config import Settings, conninfo_from_environment


@click.command("up")
@database_option
@settings_options()
def command(database: str | None, settings: Settings) -> None:
    """Everything in the foreground: a private Postgres (unless a database is named), migrations, a worker."""
    from worker.migrate import migrate

    with open_database(database, create=True) as conninfo:
        migrate(conninfo)
        if database is None and conninfo_from_environment() is None:
            click.echo(f"Connect with:  psql '{conninfo}'")
        else:
            click.echo(f"Using the database {describe(conninfo)}.")
        click.echo("Register a table:  select pgembedd.create_pipeline('docs', 'public.docs', array['title', 'body']);")
        click.echo("Stop with Ctrl-C.")
        drained = work(conninfo, settings)
    leave(drained)
