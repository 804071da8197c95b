"""Which observers a process has: metrics where it serves HTTP, traces where the environment asks for them."""

from pgembedd.telemetry.exporter import traces_asked_for
from pgembedd.telemetry.observer import SILENT, Observer, Several


def observer_of(*, with_metrics: bool) -> Observer:
    """The observer of this process. ConfigurationError where a package is missing that it cannot do without."""
    parts: list[Observer] = []
    if with_metrics:
        try:
            from pgembedd.telemetry.prometheus import Instruments
        except ModuleNotFoundError:
            return SILENT  # the HTTP service says which package is missing
        parts.append(Instruments())
    if (traces := traces_asked_for()) is not None:
        parts.append(traces)
    return Several(parts) if parts else SILENT
