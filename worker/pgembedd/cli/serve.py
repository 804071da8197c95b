"""`pgembedd serve`"""

import threading
from contextlib import nullcontext

import click

from pgembedd.cli.options import database_option, http_options, open_database, settings_options
from pgembedd.cli.run import exit_unless_drained
from pgembedd.settings import HttpSettings, Settings

LOOP_SETTINGS = ("lease_s", "wait", "threads", "precision", "model_dir", "log_format", "log_level")


@click.command("serve")
@database_option
@click.option("--no-database", is_flag=True, help="Embed only: no database, so no pipelines, jobs, events or page.")
@http_options()
@settings_options(*LOOP_SETTINGS)
def command(database: str | None, no_database: bool, http: HttpSettings, settings: Settings) -> None:
    """Answer HTTP and leave the queue alone: vectors, pushed jobs, metrics, health, a page. `run --http` does both."""
    if no_database and database is not None:
        raise click.UsageError("--no-database and --database exclude each other.")
    with nullcontext(None) if no_database else open_database(database) as conninfo:
        drained = serve(conninfo, settings, http)
    exit_unless_drained(drained)


def serve(conninfo: str | None, settings: Settings, http: HttpSettings) -> bool:
    """Serves HTTP in the foreground until a signal; returns False if the model hangs.

    A second signal ends the process at once.
    """
    from pgembedd.cli.http_service import serve_http
    from pgembedd.database.connection import connect
    from pgembedd.database.migrate import check_schema
    from pgembedd.log import configure_logging
    from pgembedd.loop.embed_requests import answer_embed_requests
    from pgembedd.loop.model_loader import loader
    from pgembedd.loop.shutdown import close_with_timeout
    from pgembedd.loop.systemd import notify_systemd
    from pgembedd.loop.worker import stop_on_signals
    from pgembedd.model.registry import ModelRegistry
    from pgembedd.telemetry.setup import observer_of

    configure_logging(settings.log_format, settings.log_level)
    if conninfo is not None:
        with connect(conninfo) as connection:
            check_schema(connection)
    ended = threading.Event()
    stop_on_signals(ended.set)
    observer = observer_of(with_metrics=True)
    models = ModelRegistry(loader(settings, observer))
    with serve_http(settings, http, models, conninfo, on_death=ended.set, observer=observer) as service:
        service.preload()
        channel = conninfo if settings.wait == "listen" else None
        with nullcontext() if channel is None else answer_embed_requests(channel, models, service.served, ended.set):
            notify_systemd("READY=1")
            while not ended.wait(1.0):
                notify_systemd("WATCHDOG=1")
            notify_systemd("STOPPING=1")
    drained = service.finished and close_with_timeout(models.close)
    observer.close()
    return drained
