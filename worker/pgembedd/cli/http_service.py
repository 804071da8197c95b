"""Runs the HTTP service within a command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgembedd.errors import ConfigurationError
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import SILENT, Observer

if TYPE_CHECKING:
    from pgembedd.http.context import ServiceContext
    from pgembedd.loop.worker import Worker


@contextmanager
def serve_http(
    settings: Settings,
    http: HttpSettings,
    models: ModelRegistry,
    conninfo: str | None,
    *,
    on_death: Callable[[], None],
    worker: "Worker | None" = None,
    observer: Observer = SILENT,
) -> "Iterator[ServiceContext]":
    """Serves HTTP while the block runs; `on_death` is called if the server ends by itself."""
    try:
        from pgembedd.http.app import build_app
        from pgembedd.http.context import ServiceContext
        from pgembedd.http.server import HttpServer
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The HTTP service needs the package {error.name}, which is not installed: pip install 'pgembedd[http]'."
        ) from error
    service = ServiceContext(settings, http, models, conninfo, worker, observer)
    if worker is not None:
        worker.served = service.served
        worker.on_start, worker.on_stop = service.started.set, service.stopping.set
    try:
        server = HttpServer(build_app(service), http, on_death)
        server.start()
        try:
            yield service
        finally:
            service.stopping.set()
            server.stop()
    finally:
        service.close()
