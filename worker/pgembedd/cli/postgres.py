"""`pgembedd postgres`"""

import os
import subprocess

import click
from psycopg.conninfo import conninfo_to_dict

from pgembedd.cli.confirmation import confirm, yes_option
from pgembedd.embedded_postgres import EmbeddedPostgres, default_data_dir, running_conninfo

quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing.")


@click.group("postgres")
def command() -> None:
    """The private Postgres in ./.pgembedd (or PGEMBEDD_POSTGRES_DIR)."""


@command.command("status")
def show_status() -> None:
    """Show its directory and connection string. Exit code 1 when it does not run."""
    click.echo(f"Running in {default_data_dir()}:  psql '{_running_url()}'")


@command.command("url")
def show_url() -> None:
    """Print its connection string alone, for DATABASE_URL. Exit code 1 when it does not run."""
    click.echo(_running_url())


def _running_url() -> str:
    url = running_conninfo()
    if url is None:
        click.echo(f"No private Postgres runs in {default_data_dir()}; `pgembedd up` starts one.", err=True)
        raise click.exceptions.Exit(1)
    return url


@command.command("psql", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def open_psql(arguments: tuple[str, ...]) -> None:
    """Open the bundled psql on it, started for as long as that takes; ARGUMENTS go to psql."""
    with EmbeddedPostgres(default_data_dir()) as server:
        psql = [str(server.bin_dir / "psql"), *arguments]
        # By environment: an argument with the password in it would show in the list of processes.
        result = subprocess.run(psql, env={**os.environ, **_libpq(server.conninfo())}, check=False)
    raise click.exceptions.Exit(result.returncode)


def _libpq(conninfo: str) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    parts = conninfo_to_dict(conninfo)
    return {variable: str(parts[name]) for name, variable in names.items() if name in parts}


@command.command("stop")
@quiet_option
def stop_server(quiet: bool) -> None:
    """Stop it, even if another process started it. Its data stays."""
    was_running = False
    if default_data_dir().exists():
        server = EmbeddedPostgres(default_data_dir())
        was_running = server.running()
        server.stop(force=True)
    if not quiet:
        click.echo("Stopped." if was_running else "It was not running.")


@command.command("remove")
@quiet_option
@yes_option
def remove_server(quiet: bool, yes: bool) -> None:
    """Stop it and delete all its data."""
    data_dir = default_data_dir()
    if data_dir.exists():
        confirm(f"This deletes the private Postgres in {data_dir} with all databases.", yes=yes)
        EmbeddedPostgres(data_dir).remove()
    if not quiet:
        click.echo(f"Nothing is left in {data_dir}.")
