"""`pgembedd up`"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from pgembedd.cli.health import EVERYWHERE
from pgembedd.cli.options import database_option, describe, http_options, open_database, settings_options
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.errors import PgembeddError
from pgembedd.settings import HttpSettings, Settings
from pgembedd.settings.conninfo import conninfo_from_environment


@click.command("up")
@database_option
@click.option(
    "--http", "with_http", is_flag=True, envvar="PGEMBEDD_HTTP", show_envvar=True, help="Answer HTTP as well."
)
@settings_options()
@http_options()
def command(database: str | None, with_http: bool, settings: Settings, http: HttpSettings) -> None:
    """Run everything in the foreground: a private Postgres (unless a database is named), migrations, a worker."""
    from pgembedd.cli.trial_role import ROLE, trial_search_url
    from pgembedd.database.migrate import migrate_unless_newer
    from pgembedd.log import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    with open_database(database, create=True) as conninfo:
        if newer := migrate_unless_newer(conninfo):
            click.echo(f"The database is at pgembedd schema {newer}, newer than this program, which works with it.")
        if database is None and conninfo_from_environment() is None:
            click.echo("Connect with:  pgembedd postgres psql   (for others: pgembedd postgres url)")
            if with_http and not http.search_url:
                http = replace(http, search_url=trial_search_url(conninfo))
                click.echo(f"Over HTTP the tables of the schema public are searched, as the role {ROLE}.")
        else:
            click.echo(f"Using the database {describe(conninfo)}.")
        for line in example(settings.model_dir):
            click.echo(line)
        if with_http:
            click.echo(f"Look at:  {address(http)}")
        click.echo("Stop with Ctrl-C.")
        drained = run_process(conninfo, settings, http if with_http else None, language=http)
    exit_unless_drained(drained)


def example(model_dir: str) -> Iterator[str]:
    """Yields how to register a table with a model that can be had on this machine, and why that is not the default."""
    from pgembedd.model.catalogue import default_model, model_in_folder
    from pgembedd.model.specs import DEFAULT_MODEL

    arguments = ""
    try:
        if model_dir:
            name, dims = model_in_folder(Path(model_dir))
            if name != DEFAULT_MODEL:
                arguments = f", model => {_quoted(name)}, dimensions => {dims}"
        else:
            chosen = default_model(notify=click.echo)
            if chosen.notice:
                yield chosen.notice
                arguments = f", model => {_quoted(chosen.name)}"
    except PgembeddError as error:
        yield f"No model can be had here now: {error}"
        yield "Rows of a table that is registered get their vectors once it can; the worker goes on trying."
    yield (
        f"Register a table:  select pgembedd.create_pipeline('docs', 'public.docs', array['title', 'body']{arguments});"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def address(http: HttpSettings) -> str:
    """Returns the URL of the page for a browser on this machine."""
    if http.http_port == 0:
        return "the port of http_started in the log"
    host = EVERYWHERE.get(http.http_host, http.http_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.http_port}/"
