"""`GET /metrics`: this process's counters, and gauges of the queues read from the database."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from fastapi import APIRouter, Request, Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pgembedd.database.queries import query
from pgembedd.http.connection_pool import Database
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors import Refusal, responses
from pgembedd.log import get_logger
from pgembedd.telemetry.observer import Observer, ObserverGroup
from pgembedd.telemetry.prometheus import PrometheusMetrics

QUERY_EVERY_S = 5.0
PAUSE_FACTOR = 20  # the query takes at most a twentieth of one connection's time, however long the queues are
QUERY_TIMEOUT_S = 8  # Prometheus gives a scrape ten seconds
WAIT_S = 2.0  # for a database that may be away
STATES = ("running", "unserved", "paused", "stopped")


def router(service: ServiceContext) -> APIRouter:
    """GET /metrics; without a database the process's own metrics only."""
    routes = APIRouter(tags=["metrics"], dependencies=[service.authenticator.require("admin")])
    registry = _process_metrics(service.observer).registry
    if service.database is not None:
        registry.register(Queues(service.database))
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}, "description": "The metrics."}
    }

    @routes.get("/metrics", response_class=Response, responses={**text, **responses(401, 403, 429, 500)})
    def metrics(request: Request) -> Response:
        """All metrics, in Prometheus's text format, or OpenMetrics where Accept asks for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    return routes


def _process_metrics(observer: Observer) -> PrometheusMetrics:
    """Returns the metrics that the observer writes to, or new ones where it writes to none."""
    parts = observer.parts if isinstance(observer, ObserverGroup) else (observer,)
    return next((part for part in parts if isinstance(part, PrometheusMetrics)), None) or PrometheusMetrics()


class Queues(Collector):
    """Gauges of the queues, queried by a scrape and cached for the scrapes that follow soon after."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._until = 0.0
        self._last: list[Metric] = []

    def describe(self) -> list[Metric]:
        """Returns nothing, so that registering does not query the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges; only pgembedd_database_up where the database is away."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._last, took_s = self._query()
                self._until = time.monotonic() + max(QUERY_EVERY_S, PAUSE_FACTOR * took_s)
            yield from self._last

    def _query(self) -> tuple[list[Metric], float]:
        """Returns the gauges and the query's seconds. After an error of the database it counts as up."""
        found: list[Metric] = []
        began, up = time.monotonic(), True
        try:
            with self._database.connection(WAIT_S) as connection:
                began = time.monotonic()
                found = _gauges(*_ask(connection))
        except Refusal as refusal:
            began, up = time.monotonic(), refusal.code == "schema_unusable"
        except psycopg.Error as error:
            get_logger().warning("metrics_incomplete", error=type(error).__name__, sqlstate=error.sqlstate)
        took_s = time.monotonic() - began
        found += [
            _gauge("database_up", "Whether the database answered the last look.", {(): float(up)}),
            _gauge("queue_look_seconds", "What that look took.", {(): took_s}),
        ]
        return found, took_s


Row = tuple[str | None, str | None, int, int, float | None, float | None, int, dict[str, int], int, int, float]


def _ask(connection: psycopg.Connection) -> tuple[list[Row], int]:
    """Returns a row for each pipeline, and the number of connected workers."""
    with connection.transaction():
        connection.execute(query("statement_timeout"), {"milliseconds": str(QUERY_TIMEOUT_S * 1000)})
        rows = connection.execute(query("metrics")).fetchall()
        ((workers,),) = connection.execute(query("doctor_workers")).fetchall()
    return rows, workers


def _gauges(rows: list[Row], workers: int) -> list[Metric]:
    jobs: dict[tuple[str, ...], float] = {}
    oldest: dict[tuple[str, ...], float] = {}
    failing: dict[tuple[str, ...], float] = {}
    dead: dict[tuple[str, ...], float] = {}
    noted: dict[tuple[str, ...], float] = {}
    states: dict[tuple[str, ...], float] = {}
    rates: dict[tuple[str, ...], float] = {}
    for name, state, fresh, backfill, fresh_s, backfill_s, failed, reasons, blank, truncated, rate in rows:
        pipeline = name or ""
        jobs[pipeline, "fresh"], jobs[pipeline, "backfill"] = fresh, backfill
        oldest[pipeline, "fresh"], oldest[pipeline, "backfill"] = fresh_s or 0, backfill_s or 0
        failing[pipeline,] = failed
        dead.update({(pipeline, reason): count for reason, count in reasons.items()})
        if state is not None:
            noted[pipeline, "blank"], noted[pipeline, "truncated"] = blank, truncated
            states.update({(pipeline, each): float(each == state) for each in STATES})
            rates[pipeline,] = rate / 60
    return [
        _gauge("queue_jobs", "Messages in the queues.", jobs, "pipeline", "lane"),
        _gauge("queue_oldest_seconds", "How long the oldest of them has been there.", oldest, "pipeline", "lane"),
        _gauge("queue_failing_jobs", "Those that failed before.", failing, "pipeline"),
        _gauge("dead_letters", "Jobs that were given up.", dead, "pipeline", "reason"),
        _gauge("noted_rows", "Rows that are blank or were cut.", noted, "pipeline", "state"),
        _gauge("pipeline_state", "1 for the state that it is in.", states, "pipeline", "state"),
        _gauge("pipeline_rows_per_second", "Rows done by all workers since their work began.", rates, "pipeline"),
        _gauge("workers", "Workers that are connected to the database.", {(): workers}),
    ]


def _gauge(name: str, text: str, values: dict[tuple[str, ...], float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"pgembedd_{name}", text, labels=labels)
    for given, value in values.items():
        family.add_metric(given, value)
    return family
