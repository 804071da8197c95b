"""`pgembedd run`"""

import os

import click

from worker.cli.options import database_option, open_database, settings_options
from worker.config import Settings


@click.command("run")
@database_option
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="Serve only this queue and its backfill lane; repeatable."
)
@settings_options()
def command(database: str | None, queues: tuple[str, ...], settings: Settings) -> None:
    """Work the queue until SIGTERM, which drains; a second SIGTERM ends at once."""
    with open_database(database, create=True) as conninfo:
        drained = work(conninfo, settings, queues)
    leave(drained)


def leave(drained: bool) -> None:
    """End now if the worker did not drain: Python would wait for the model's threads, which may take for ever."""
    if not drained:
        os._exit(0)


def work(conninfo: str, settings: Settings, queues: tuple[str, ...] = ()) -> bool:
    """Run a worker in the foreground of this process until it is signalled; whether it finished what it held."""
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
    return worker.run()
