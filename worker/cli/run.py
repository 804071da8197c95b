"""`pgembedd run`"""

import click

from worker.cli.options import database_option, open_database, settings_options
from worker.config import Settings


@click.command("run")
@database_option
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="Serve only this queue and its backfill lane; repeatable."
)
@settings_options
def command(database: str | None, queues: tuple[str, ...], settings: Settings) -> None:
    """Work the queue until SIGTERM, which drains; a second SIGTERM ends at once."""
    with open_database(database, create=True) as conninfo:
        work(conninfo, settings, queues)


def work(conninfo: str, settings: Settings, queues: tuple[str, ...] = ()) -> None:
    """Run a worker in the foreground of this process until it is signalled."""
    from worker.db import connect
    from worker.loading import loader
    from worker.log import configure_logging
    from worker.migrate import check_schema
    from worker.models import Models
    from worker.run import Worker, stop_on_signals

    configure_logging(settings.log_format, settings.log_level)
    with connect(conninfo) as connection:
        check_schema(connection)
    worker = Worker(conninfo, settings, Models(loader(settings)), queues=queues)
    stop_on_signals(worker)
    worker.run()
