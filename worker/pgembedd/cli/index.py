"""`pgembedd index`"""

import threading
import time

import click
import psycopg

from pgembedd.cli.options import database_option, open_connection, settings_options
from pgembedd.database.queries import query
from pgembedd.errors import ConfigurationError, PgembeddError
from pgembedd.loop.index_builder import BuildLimits, build_index
from pgembedd.settings import Settings


@click.command("index")
@click.argument("pipeline", required=False)
@database_option
@settings_options("index_memory_mb", "index_workers")
def command(pipeline: str | None, database: str | None, settings: Settings) -> None:
    """Build the index of PIPELINE now, or all deferred indexes, without blocking writers."""
    with open_connection(database) as connection:
        if not connection.keeps_session:
            raise ConfigurationError(
                "A pooler in transaction mode keeps no session, which the build of an index needs: connect to the "
                "server itself, or through a pooler in session mode."
            )
        rows = connection.execute(query("indexes_wanted")).fetchall()
        names = [pipeline] if pipeline is not None else [row[0] for row in rows]
        for name in names:
            _build(connection, name, settings)
        if not names:
            click.echo("No index is outstanding.")


def _build(connection: psycopg.Connection, name: str, settings: Settings) -> None:
    began, limits = time.monotonic(), BuildLimits(settings.index_memory_mb, settings.index_workers)
    if _state(connection, name) == "valid":
        click.echo(f"{name}: its index is valid.")
        return
    never = threading.Event()  # psycopg handles Ctrl-C
    if not build_index(connection, name, limits, never, lambda mb: click.echo(f"{name}: building, in {mb} MB ...")):
        raise PgembeddError(
            f'The index of "{name}" cannot be built now, because another one is being built or its table is locked: '
            "try again when pgembedd.status shows none as building."
        )
    click.echo(f"{name}: built in {time.monotonic() - began:.0f} s.")


def _state(connection: psycopg.Connection, name: str) -> str | None:
    row = connection.execute(query("index_state"), {"name": name}).fetchone()
    return row[0] if row else None
