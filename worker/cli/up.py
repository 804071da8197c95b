"""`pgembedd up`"""

import click

from worker.cli.options import database_option, open_database, settings_options
from worker.cli.run import leave, work
from worker.config import Settings


@click.command("up")
@database_option
@settings_options
def command(database: str | None, settings: Settings) -> None:
    """Everything in the foreground: a private Postgres (unless a database is named), migrations, a worker."""
    from worker.migrate import migrate

    with open_database(database, create=True) as conninfo:
        migrate(conninfo)
        if database is None:
            click.echo(f"Connect with:  psql '{conninfo}'" if conninfo else "Using the database of libpq's variables.")
        click.echo("Register a table:  select pgembedd.create_pipeline('docs', 'public.docs', array['title', 'body']);")
        click.echo("Stop with Ctrl-C.")
        drained = work(conninfo, settings)
    leave(drained)
