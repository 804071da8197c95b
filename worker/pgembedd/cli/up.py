"""`pgembedd up`"""

import click

from pgembedd.cli.health import EVERYWHERE
from pgembedd.cli.options import database_option, describe, http_options, open_database, settings_options
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.settings import HttpSettings, Settings, conninfo_from_environment


@click.command("up")
@database_option
@click.option(
    "--http", "with_http", is_flag=True, envvar="PGEMBEDD_HTTP", show_envvar=True, help="Answer HTTP as well."
)
@settings_options()
@http_options()
def command(database: str | None, with_http: bool, settings: Settings, http: HttpSettings) -> None:
    """Run everything in the foreground: a private Postgres (unless a database is named), migrations, a worker."""
    from pgembedd.database.migrate import migrate

    with open_database(database, create=True) as conninfo:
        migrate(conninfo)
        if database is None and conninfo_from_environment() is None:
            click.echo("Connect with:  pgembedd postgres psql   (for others: pgembedd postgres status)")
        else:
            click.echo(f"Using the database {describe(conninfo)}.")
        click.echo("Register a table:  select pgembedd.create_pipeline('docs', 'public.docs', array['title', 'body']);")
        if with_http:
            click.echo(f"Look at:  {address(http)}")
        click.echo("Stop with Ctrl-C.")
        drained = run_process(conninfo, settings, http if with_http else None)
    exit_unless_drained(drained)


def address(http: HttpSettings) -> str:
    """Returns the URL of the page for a browser on this machine."""
    if http.http_port == 0:
        return "the port of http_started in the log"
    host = EVERYWHERE.get(http.http_host, http.http_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.http_port}/"
