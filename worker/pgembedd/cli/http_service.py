"""Runs the HTTP service within a command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgembedd.errors import ConfigurationError
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings, Settings
from pgembedd.telemetry.observer import Observer

if TYPE_CHECKING:
    from pgembedd.http.context import ServiceContext


def build_service(
    settings: Settings, http: HttpSettings, models: ModelRegistry, conninfo: str | None, observer: Observer
) -> "ServiceContext":
    """Builds the state of the service. ConfigurationError without the packages of the extra `http`."""
    try:
        from pgembedd.http.context import ServiceContext
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The HTTP service needs the package {error.name}, which is not installed: pip install 'pgembedd[http]'."
        ) from error
    return ServiceContext(settings, http, models, conninfo, observer)


@contextmanager
def serve_http(
    service: "ServiceContext", *, worker_health: Callable[[], str], on_death: Callable[[], None]
) -> Iterator[None]:
    """Serves HTTP while the block runs; `on_death` is called if the server ends by itself."""
    from pgembedd.http.app import build_app
    from pgembedd.http.server import HttpServer

    try:
        server = HttpServer(build_app(service, worker_health), service.http, on_death)
        server.start()
        try:
            yield
        finally:
            service.stopping.set()
            server.stop()
    finally:
        service.close()
