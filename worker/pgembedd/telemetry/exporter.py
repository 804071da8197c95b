"""Whether the environment asks for traces, and where they go: OpenTelemetry's own variables say so."""

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
    """What makes the spans; None, at no cost, when nobody asks for them.

    What cannot be had is logged and left out: these variables are often a whole machine's, and a worker that does not
    start for want of telemetry is worse than one without.
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
    """Names of exporters, as OTEL_TRACES_EXPORTER lists them; an endpoint alone means otlp."""
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
    # The environment's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say it better than we do.
    resource = Resource({"service.version": version("pgembedd")}).merge(Resource.create())
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "pgembedd"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    _log_as_events()
    return provider


def _exporter(name: str) -> "SpanExporter":
    """ValueError for one that we do not have."""
    if name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    raise ValueError(f"OTEL_TRACES_EXPORTER names {name!r}; there are otlp (over HTTP), console and none")


class _ExportWarnings(logging.Handler):
    """What the SDK has to say about a collector that is away, as an event of ours, once a minute."""

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
