"""`pgembedd serve`"""

from contextlib import nullcontext

import click

from pgembedd.cli.options import database_option, http_options, open_database, settings_options
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.settings import HttpSettings, Settings

LOOP_SETTINGS = ("lease_s", "grace_s", "wait", "owner_timeout_s", "max_connections", "log_format", "log_level")
MODEL_SETTINGS = ("threads", "precision", "device", "model_dir", "vector_cache_mb", "providers", "providers_file")


@click.command("serve")
@database_option
@click.option("--no-database", is_flag=True, help="Embed only: no database, so no pipelines, jobs, events or page.")
@http_options()
@settings_options(*LOOP_SETTINGS, *MODEL_SETTINGS)
def command(database: str | None, no_database: bool, http: HttpSettings, settings: Settings) -> None:
    """Answer HTTP: vectors, pushed jobs, metrics, health, a page. `run --http` claims from the queue, too."""
    if no_database and database is not None:
        raise click.UsageError("--no-database and --database exclude each other.")
    with nullcontext(None) if no_database else open_database(database) as conninfo:
        drained = run_process(conninfo, settings, http, pulls=False)
    exit_unless_drained(drained)
