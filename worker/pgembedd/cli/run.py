"""`pgembedd run`"""

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from pgembedd.cli.options import database_option, http_options, open_database, settings_options
from pgembedd.errors import ConfigurationError
from pgembedd.settings import HttpSettings, Settings

if TYPE_CHECKING:
    import psycopg


@click.command("run")
@database_option
@click.option(
    "--queue", "queues", multiple=True, metavar="NAME", help="Serve only this queue and its backfill lane; repeatable."
)
@click.option(
    "--http",
    "with_http",
    is_flag=True,
    envvar="PGEMBEDD_HTTP",
    show_envvar=True,
    help="Answer HTTP as well, as `pgembedd serve` does.",
)
@settings_options()
@http_options()
def command(
    database: str | None, queues: tuple[str, ...], with_http: bool, settings: Settings, http: HttpSettings
) -> None:
    """Run a worker until SIGTERM, which drains it; a second SIGTERM ends it at once."""
    with open_database(database, create=True) as conninfo:
        drained = run_worker(conninfo, settings, queues, http if with_http else None)
    exit_unless_drained(drained)


def exit_unless_drained(drained: bool) -> None:
    """Ends the process now unless drained: Python would wait for the model's threads, which may never end."""
    if not drained:
        os._exit(0)


def run_worker(
    conninfo: str, settings: Settings, queues: tuple[str, ...] = (), http: HttpSettings | None = None
) -> bool:
    """Runs a worker in the foreground until a signal; returns True if it finished the jobs in flight.

    With `http` the service answers before the models are loaded and until the worker has drained.
    """
    from pgembedd.database.connection import connect
    from pgembedd.database.migrate import check_schema
    from pgembedd.log import configure_logging
    from pgembedd.loop.model_loader import loader
    from pgembedd.loop.shutdown import close_with_timeout
    from pgembedd.loop.worker import Worker, stop_on_signals
    from pgembedd.model.registry import ModelRegistry
    from pgembedd.telemetry.setup import observer_of

    configure_logging(settings.log_format, settings.log_level)
    with connect(conninfo) as connection:
        check_schema(connection)
        check_queues(connection, queues)
    with closing(observer_of(with_metrics=http is not None)) as observer:
        models = ModelRegistry(loader(settings, observer))
        worker = Worker(conninfo, settings, models, queues=queues, own_models=False, observer=observer)
        stop_on_signals(worker.stop)
        if http is None:
            drained = worker.run()
        else:
            from pgembedd.cli.http_service import serve_http

            with serve_http(
                settings, http, models, conninfo, worker=worker, on_death=worker.stop, observer=observer
            ) as service:
                drained = worker.run()
            drained = drained and service.finished
    return drained and close_with_timeout(models.close)


def check_queues(connection: "psycopg.Connection", queues: Sequence[str]) -> None:
    """Raises ConfigurationError for a name that no worker can serve; a queue without a pipeline may get one later."""
    from pgembedd.database.queries import query
    from pgembedd.log import get_logger

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
