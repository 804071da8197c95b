"""`pgembedd run`"""

import click

from pgembedd.cli.options import database_option, http_option, http_options, open_database, settings_options
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.settings import HttpSettings, Settings


@click.command("run")
@database_option
@click.option(
    "--pipeline", "pipelines", multiple=True, metavar="NAME", help="Serve only this pipeline; may be repeated."
)
@http_option
@settings_options()
@http_options()
def command(
    database: str | None, pipelines: tuple[str, ...], with_http: bool, settings: Settings, http: HttpSettings
) -> None:
    """Run a worker until SIGTERM, which drains it; a second SIGTERM ends it at once."""
    with open_database(database, create=True) as conninfo:
        drained = run_process(conninfo, settings, http if with_http else None, pipelines=pipelines, language=http)
    exit_unless_drained(drained)
