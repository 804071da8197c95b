"""Configures tracing from OpenTelemetry's own environment variables."""

import logging
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from pgembedd.log import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from pgembedd.telemetry.spans import SpanRecorder

WARN_EVERY_S = 60.0


def configured_tracing() -> "SpanRecorder | None":
    """Returns the recorder of spans; None, at no cost, when the environment does not ask for traces.

    A missing package or unknown exporter is logged, and traces stay off: these variables often apply to a whole
    machine, and a worker without traces is better than none.
    """
    wanted = _exporters()
    if not wanted:
        return None
    try:
        from pgembedd.telemetry.spans import SpanRecorder

        provider = _provider(wanted)
    except ModuleNotFoundError as error:
        get_logger().warning("traces_off", why=f"the package {error.name} is missing: pip install 'pgembedd[otel]'")
        return None
    except ValueError as error:
        get_logger().warning("traces_off", why=str(error))
        return None
    get_logger().info("traces_on", exporters=wanted)
    return SpanRecorder(provider)


def _exporters() -> list[str]:
    """Returns the exporters that OTEL_TRACES_EXPORTER names; an endpoint alone means otlp."""
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    given = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    if (os.environ.get("OTEL_SDK_DISABLED") or "").casefold() == "true":
        return []
    names = [name.strip().casefold() for name in given.split(",")]
    return [name for name in names if name not in ("", "none")]


def _provider(names: list[str]) -> "TracerProvider":
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporters = [_exporter(name) for name in names]
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
    resource = Resource({"service.version": version("pgembedd")}).merge(Resource.create())
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "pgembedd"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    _log_as_events()
    return provider


def _exporter(name: str) -> "SpanExporter":
    """Returns the exporter of that name; ValueError for an unknown one."""
    if name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    raise ValueError(f"OTEL_TRACES_EXPORTER names {name!r}; there are otlp (over HTTP), console and none")


class _ExportWarnings(logging.Handler):
    """Logs the SDK's warnings about an unreachable collector as events, at most one a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._silent_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.created >= self._silent_until:
            self._silent_until = record.created + WARN_EVERY_S
            get_logger().warning("traces_not_sent", why=record.getMessage().splitlines()[0][:300])


def _log_as_events() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_ExportWarnings()]
