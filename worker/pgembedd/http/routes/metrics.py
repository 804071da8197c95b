"""`GET /metrics`: this process's counters, and gauges of the queues read from the database."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import responses
from pgembedd.http.queue_look import QueueLook, Row
from pgembedd.telemetry.observer import Observer, ObserverGroup
from pgembedd.telemetry.prometheus import PrometheusMetrics

Values = dict[tuple[str, ...], float]  # by the values of the labels
GAUGES = {  # each with its text and its labels
    "queue_jobs": ("Messages in the queues.", "pipeline", "lane"),
    "queue_oldest_age_seconds": ("How long the oldest of them has been there.", "pipeline", "lane"),
    "queue_failing_jobs": ("Those that failed before.", "pipeline"),
    "dead_letters": ("Jobs that failed for good.", "pipeline", "reason"),
    "noted_rows": ("Rows that are blank or were cut.", "pipeline", "state"),
    "pipeline_state": ("1 for the state that it is in.", "pipeline", "state"),
    "pipeline_rows_per_second": ("Rows done by all workers since their work began.", "pipeline"),
    "demand_seconds": ("What one worker would take for the jobs that are due or leased.", "pipeline"),
    "workers": ("Workers that answer.",),
}
STATES = ("running", "stalled", "unserved", "paused", "stopped")


def router(service: ServiceContext) -> APIRouter:
    """GET /metrics; without a database the process's own metrics only."""
    routes = APIRouter(tags=["metrics"], dependencies=[service.authenticator.require("admin")])
    registry = _process_metrics(service.observer).registry
    if service.queues is not None:
        registry.register(Queues(service.queues))
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}, "description": "The metrics."}
    }

    @routes.get("/metrics", response_class=Response, responses={**text, **responses(401, 403, 429, 500)})
    def metrics(request: Request) -> Response:
        """All metrics, in Prometheus's text format, or OpenMetrics where Accept asks for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return routes


def _process_metrics(observer: Observer) -> PrometheusMetrics:
    """Returns the metrics that the observer writes to, or new ones where it writes to none."""
    parts = observer.parts if isinstance(observer, ObserverGroup) else (observer,)
    return next((part for part in parts if isinstance(part, PrometheusMetrics)), None) or PrometheusMetrics()


class Queues(Collector):
    """Gauges of the queues."""

    def __init__(self, queues: QueueLook) -> None:
        self._queues = queues

    def describe(self) -> list[Metric]:
        """Returns nothing, so that registering does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges; only those of the look itself where it failed."""
        last = self._queues.look()
        if last.rows is not None:
            yield from _gauges(last.rows, last.workers)
        yield _gauge("database_up", "Whether the database answered the last look.", {(): float(last.up)})
        yield _gauge("queue_look_duration_seconds", "What that look took.", {(): last.seconds})


def _gauges(rows: list[Row], workers: int) -> list[Metric]:
    values: defaultdict[str, Values] = defaultdict(dict)
    for name, state, fresh, backfill, fresh_s, backfill_s, failed, reasons, blank, truncated, rate, demand_s in rows:
        pipeline = name or ""
        values["queue_jobs"] |= {(pipeline, "fresh"): fresh, (pipeline, "backfill"): backfill}
        values["queue_oldest_age_seconds"] |= {
            (pipeline, "fresh"): fresh_s or 0,
            (pipeline, "backfill"): backfill_s or 0,
        }
        values["queue_failing_jobs"][pipeline,] = failed
        values["dead_letters"] |= {(pipeline, reason): count for reason, count in reasons.items()}
        if state is not None:
            values["noted_rows"] |= {(pipeline, "blank"): blank, (pipeline, "truncated"): truncated}
            values["pipeline_state"] |= {(pipeline, each): float(each == state) for each in STATES}
            values["pipeline_rows_per_second"][pipeline,] = rate / 60
            values["demand_seconds"][pipeline,] = demand_s
    values["workers"][()] = workers
    return [_gauge(name, text, values[name], *labels) for name, (text, *labels) in GAUGES.items()]


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"pgembedd_{name}", text, labels=labels)
    for given, value in values.items():
        family.add_metric(given, value)
    return family
