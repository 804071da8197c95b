"""`pgembedd run`"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from worker.cli.options import database_option, open_database, settings_options
from worker.config import Settings
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg


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
        check_queues(connection, queues)
    worker = Worker(conninfo, settings, Models(loader(settings)), queues=queues)
    stop_on_signals(worker)
    return worker.run()


def check_queues(connection: "psycopg.Connection", queues: Sequence[str]) -> None:
    """ConfigurationError for a name that no worker could ever serve; a queue without a pipeline may get one later."""
    from worker.log import get_logger
    from worker.queries import query

    lanes: dict[str, str] = dict(connection.execute(query("lanes")).fetchall())
    existing = {name for (name,) in connection.execute(query("existing_queues"), {"queues": list(queues)})}
    for queue in queues:
        if fresh := next((name for name, backfill in lanes.items() if backfill == queue and queue not in lanes), None):
            raise ConfigurationError(
                f'The queue "{queue}" is the backfill lane of "{fresh}": give --queue {fresh}, which serves both.'
            )
        if queue not in lanes and queue not in existing:
            raise ConfigurationError(
                f'There is no queue "{queue}", and no pipeline that uses it. There are: {", ".join(sorted(lanes))}.'
            )
        if queue not in lanes:
            get_logger().warning("queue_unused", queue=queue)
