"""Composes the observers of a process: metrics where it serves HTTP, traces where the environment asks for them."""

from pgembedd.telemetry.exporter import configured_tracing
from pgembedd.telemetry.observer import SILENT, Observer, ObserverGroup


def observer_of(*, with_metrics: bool) -> Observer:
    """Returns the observer of this process; SILENT where the package of the metrics is missing."""
    parts: list[Observer] = []
    if with_metrics:
        try:
            from pgembedd.telemetry.prometheus import PrometheusMetrics
        except ModuleNotFoundError:
            return SILENT  # the HTTP service says which package is missing
        parts.append(PrometheusMetrics())
    if (traces := configured_tracing()) is not None:
        parts.append(traces)
    return ObserverGroup(parts) if parts else SILENT
