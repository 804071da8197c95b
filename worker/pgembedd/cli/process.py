"""Composes the process of `run`, `serve` and `up`, and runs it until a signal."""

import gc
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pgembedd.errors import ConfigurationError
from pgembedd.retry_policy import RetryPolicy
from pgembedd.settings import HttpSettings, LanguageSettings, Settings, unknown_variables

if TYPE_CHECKING:
    import psycopg

    from pgembedd.http.context import ServiceContext
    from pgembedd.loop.role import Role
    from pgembedd.loop.worker import Worker

ALLOCATED = 10_000  # objects, between collections of garbage: a claim makes thousands of them, and no cycles


def run_process(
    conninfo: str | None,
    settings: Settings,
    http: HttpSettings | None = None,
    *,
    pipelines: Sequence[str] = (),
    pulls: bool = True,
    language: LanguageSettings | None = None,
    stops: Callable[["Worker"], None] | None = None,
) -> bool:
    """Runs a worker, an HTTP service or both until a signal; returns False if unfinished jobs were released.

    `stops` is given the worker, and has it end, instead of the signals. The service answers before the models are
    loaded and until the worker has drained. A second signal ends the process at once.
    """
    gc.set_threshold(ALLOCATED)
    from pgembedd.cli.http_service import build_service
    from pgembedd.database.provider_use import ProviderUse
    from pgembedd.log import configure_logging
    from pgembedd.loop.model_loader import loader
    from pgembedd.loop.shutdown import close_with_timeout
    from pgembedd.loop.worker import Worker
    from pgembedd.model.registry import ModelRegistry
    from pgembedd.telemetry.setup import observer_of

    configure_logging(settings.log_format, settings.log_level)
    warn_of_unknown_settings()
    if conninfo is not None:
        settings = _settings_for(settings, check_database(conninfo, pipelines, pulls=pulls))
    ledger = None if conninfo is None else ProviderUse(conninfo, pooled=settings.wait == "poll")
    with closing(observer_of(with_metrics=http is not None)) as observer, closing(ledger) if ledger else nullcontext():
        models = ModelRegistry(loader(settings, observer, ledger))
        service = None if http is None else build_service(settings, http, models, conninfo, observer)
        role = _role(service, pipelines, pulls=pulls, language=language)
        worker = None if conninfo is None else Worker(conninfo, settings, models, role, observer=observer)
        return _run_until_stopped(worker, service, stops, preloads=not pulls) and close_with_timeout(models.close)


def warn_of_unknown_settings() -> None:
    """Logs each variable of the environment that begins as ours do and is no setting."""
    from pgembedd.log import get_logger

    for name, nearest in unknown_variables(os.environ):
        get_logger().warning("unknown_setting", variable=name, nearest=nearest)


def _run_until_stopped(
    worker: "Worker | None",
    service: "ServiceContext | None",
    stops: Callable[["Worker"], None] | None,
    *,
    preloads: bool,
) -> bool:
    """Runs what there is; returns False if jobs or requests were not finished."""
    from pgembedd.cli.http_service import serve_http
    from pgembedd.loop.shutdown import stop_on_signals

    gc.freeze()  # what is imported is no garbage
    ended = threading.Event()
    stop = ended.set if worker is None else worker.stop
    if worker is None or stops is None:
        stop_on_signals(stop)
    else:
        stops(worker)
    health = (lambda: "ok") if worker is None else worker.health
    with nullcontext() if service is None else serve_http(service, worker_health=health, on_death=stop):
        if service is not None and preloads:
            service.served.preload()
        drained = _wait(ended) if worker is None else worker.run()
    return drained and (service is None or service.finished)


def check_worker(connection: "psycopg.Connection", pipelines: Sequence[str], *, pulls: bool) -> None:
    """Raises what keeps a worker from working. A service that does not pull jobs may have fewer rights."""
    from pgembedd.database.rights import check_worker_rights
    from pgembedd.database.schema_check import check_schema

    check_schema(connection)
    if pulls:
        check_worker_rights(connection)
    check_pipelines(connection, pipelines)


def check_database(conninfo: str, pipelines: Sequence[str], *, pulls: bool = True) -> bool:
    """Returns True behind a pooler in transaction mode; raises what keeps a worker from starting.

    A worker starts with a schema that does not fit, and waits for it. A connection that is lost meanwhile is opened
    again, a few times.
    """
    from pgembedd.database.connect import connect
    from pgembedd.database.connection_errors import is_connection_error
    from pgembedd.errors import DatabaseUnavailableError, ForeignSchemaError, SchemaError
    from pgembedd.log import get_logger

    def is_lost(error: BaseException) -> bool:
        return is_connection_error(error) and not isinstance(error, DatabaseUnavailableError)

    for attempt in RetryPolicy(0.1, 2.0, attempts=6).retrying(is_lost):
        with attempt, connect(conninfo) as connection:
            try:
                check_worker(connection, pipelines, pulls=pulls)
            except ForeignSchemaError:
                raise
            except SchemaError as error:
                get_logger().debug("schema_waits", why=str(error))  # its connections wait, and say so
            return not connection.keeps_session
    raise AssertionError("the last attempt raises")


def _settings_for(settings: Settings, changes_sessions: bool) -> Settings:
    """Returns the settings that work behind a pooler in transaction mode, where there is one."""
    from pgembedd.log import get_logger

    if not changes_sessions or settings.wait == "poll":
        return settings
    get_logger().warning(
        "pooler_found",
        remedy="it keeps no session, so PGEMBEDD_WAIT=poll is used, without index builds, and without embed() unless "
        "DATABASE_LISTEN_URL leads past it; connect to the server itself, or through a pooler in session mode, to have "
        "both",
    )
    return replace(settings, wait="poll")


def _role(
    service: "ServiceContext | None", pipelines: Sequence[str], *, pulls: bool, language: LanguageSettings | None
) -> "Role":
    """Returns what the worker does, and what it shares with the service."""
    from pgembedd.loop.role import Role

    check = partial(check_worker, pipelines=pipelines, pulls=pulls)
    if service is None:
        return Role(pipelines, pulls, language=language, check=check)
    return Role(
        pipelines,
        pulls,
        service.pushed,
        service.served.names,
        service.started,
        service.stopping,
        service.listener,
        language,
        service.vector_cache,
        check,
    )


def _wait(ended: threading.Event) -> bool:
    """Waits for the end of a service without a worker."""
    from pgembedd.loop.systemd import notify_systemd

    notify_systemd("READY=1")
    while not ended.wait(1.0):
        notify_systemd("WATCHDOG=1")
    notify_systemd("STOPPING=1")
    return True


def exit_unless_drained(drained: bool) -> None:
    """Ends the process now unless drained: Python would wait for the model's threads, which may never end."""
    if not drained:
        os._exit(0)


def check_pipelines(connection: "psycopg.Connection", names: Sequence[str]) -> None:
    """Raises ConfigurationError for a name that no pipeline has."""
    from pgembedd.database.queries import query

    known = [name for (name,) in connection.execute(query("pipeline_names"))] if names else []
    for name in names:
        if name not in known:
            there = f"There are: {', '.join(known)}." if known else "There is none yet."
            raise ConfigurationError(f'There is no pipeline "{name}". {there}')
