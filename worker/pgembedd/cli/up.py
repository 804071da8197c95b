"""`pgembedd up`"""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgembedd.cli.health import local_url
from pgembedd.cli.options import database_option, describe, http_option, http_options, open_database, settings_options
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate_unless_newer
from pgembedd.database.queries import literal, query
from pgembedd.errors import PgembeddError
from pgembedd.log import configure_logging
from pgembedd.model.catalogue import default_model, model_in_folder
from pgembedd.model.specs import DEFAULT_MODEL
from pgembedd.settings import HttpSettings, Settings
from pgembedd.settings.conninfo import conninfo_from_environment


@click.command("up")
@database_option
@http_option
@settings_options()
@http_options()
def command(database: str | None, with_http: bool, settings: Settings, http: HttpSettings) -> None:
    """Run everything in the foreground: a private Postgres (unless a database is named), migrations, a worker."""
    with open_database(database, create=True) as conninfo:
        configure_logging(settings.log_format, settings.log_level)
        if newer := migrate_unless_newer(conninfo):
            click.echo(f"The database is at pgembedd schema {newer}, newer than this program, which works with it.")
        if database is None and conninfo_from_environment() is None:
            click.echo("Connect with:  pgembedd postgres psql   (for others: pgembedd postgres url)")
            if with_http and not http.search_url:
                http = replace(http, search_url=trial_search_url(conninfo))
                click.echo(f"Over HTTP the tables of the schema public are searched, as the role {TRIAL_ROLE}.")
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
    arguments = ""
    try:
        if model_dir:
            name, dims = model_in_folder(Path(model_dir))
            if name != DEFAULT_MODEL:
                arguments = f", model => {literal(name)}, dimensions => {dims}"
        else:
            chosen = default_model(notify=click.echo)
            if chosen.notice:
                yield chosen.notice
                arguments = f", model => {literal(chosen.name)}"
    except PgembeddError as error:
        yield f"No model can be had here now: {error}"
        yield "Rows of a table that is registered get their vectors once it can; the worker goes on trying."
    yield (
        f"Register a table:  select pgembedd.create_pipeline('docs', 'public.docs', array['title', 'body']{arguments});"
    )


def address(http: HttpSettings) -> str:
    """Returns the URL of the page for a browser on this machine."""
    if http.http_port == 0:
        return "the port of http_started in the log"
    return f"{local_url(http)}/"


TRIAL_ROLE = "pgembedd_http"


def trial_search_url(conninfo: str) -> str:
    """Makes the role of searches and questions over HTTP in the private Postgres; returns its connection string.

    It may read the tables of `public`, so a trial needs no set-up.
    """
    password = secrets.token_hex(16)
    with connect(conninfo, autocommit=True) as connection:
        # As the server keeps it, so that no log has the password.
        verifier = connection.pgconn.encrypt_password(password.encode(), TRIAL_ROLE.encode(), b"scram-sha-256").decode()
        names = {"role": sql.Identifier(TRIAL_ROLE), "role_name": sql.Literal(TRIAL_ROLE)}
        connection.execute(sql.SQL(query("trial_role")).format(**names, password=sql.Literal(verifier)))
    return make_conninfo(conninfo, user=TRIAL_ROLE, password=password)
