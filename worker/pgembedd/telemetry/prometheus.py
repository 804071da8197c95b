"""Prometheus metrics of this process's own work. Each metric is explained in docs/reference/metrics.md.

Labels are names of pipelines, lanes, models, stages and fixed words: never keys, and never input of a client.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from pgembedd.database.records import Computed, Job
from pgembedd.errors import RowFailure
from pgembedd.telemetry.observer import InferenceStats, Observer

STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STORED = ("written", "unchanged")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class PrometheusMetrics(Observer):
    """Counts the observed events; a scrape reads `registry`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("pgembedd_build", "What runs.", registry=registry).info({"version": version("pgembedd")})
        self._make_stages()
        self._make_outcomes()
        self._make_model()
        self._make_http()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pgembedd_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"pgembedd_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pgembedd_{name}", text, labels, registry=self.registry)

    def _make_stages(self) -> None:
        self._stage_s = self._histogram("stage_duration_seconds", "A batch in a stage.", STAGE_BUCKETS_S, "stage")
        self._claim_jobs = self._histogram("claim_jobs", "Jobs of a claim.", BATCH_BUCKETS, "lane")
        self._extensions = self._counter("lease_extensions", "Leases that the heartbeat extended.")
        self._lost = self._counter("lease_losses", "Leases that ran out while the job was worked.")
        self._up = self._gauge("connection_up", "Whether a connection to the database is open.", "purpose")
        self._losses = self._counter("connection_losses", "Times a connection was found broken.", "purpose")

    def _make_outcomes(self) -> None:
        self._known: set[str] = set()
        self._rows = self._counter("rows", "Jobs that a store was done with.", "pipeline", "outcome")
        self._failures = self._counter("failed_attempts", "Attempts that failed.", "pipeline", "reason", "outcome")
        self._released = self._counter("released_jobs", "Jobs given back without an attempt.", "pipeline")
        self._suspects = self._counter("suspects", "Jobs that workers may have died of.", "pipeline")
        self._truncations = self._counter("truncations", "Rows longer than their model reads.", "pipeline")

    def _make_model(self) -> None:
        self._loaded = self._gauge("model_loaded", "Whether a model is loaded.", "model", "fingerprint")
        self._texts = self._counter("model_texts", "Texts that were embedded.", "model", "kind")
        self._tokens = self._counter("model_tokens", "Tokens that were embedded.", "model", "kind")
        self._padding = self._counter("model_padding_tokens", "Tokens computed that no text has.", "model", "kind")
        self._recalled = self._counter("recalled_texts", "Texts whose vector was held from before.", "model")
        self._recalled_tokens = self._counter("recalled_tokens", "Tokens of these texts.", "model")
        self._run_texts = self._histogram("model_run_texts", "Texts of a run of the model.", BATCH_BUCKETS, "model")
        self._run_s = self._histogram("model_run_duration_seconds", "A run of the model.", RUN_BUCKETS_S, "model")

    def _make_http(self) -> None:
        self._requests = self._counter("http_requests", "Requests answered.", "method", "route", "code")
        self._request_s = self._histogram(
            "http_request_duration_seconds", "From request to answer.", STAGE_BUCKETS_S, "route"
        )
        self._cut_texts = self._counter("http_truncations", "Texts of requests longer than the model reads.", "model")
        self._answering = self._gauge("http_requests_in_flight", "Requests not answered yet.")

    def _start_counters(self, pipeline: str) -> None:
        self._known.add(pipeline)
        for counter in (self._released, self._suspects, self._truncations):
            counter.labels(pipeline)
        self._rows.labels(pipeline, "written")
        for reason in ("content", "file", "model", "write"):
            for outcome in ("retry", "dead"):
                self._failures.labels(pipeline, reason, outcome)

    # -- events ----------------------------------------------------------------------------------------

    def claimed(self, lane: str, jobs: Sequence[Job], seconds: float) -> None:
        """Counts a claim, after creating its pipelines' counters at 0: Prometheus sees no rise in a new counter."""
        for name in {job.pipeline.name for job in jobs} - self._known:
            self._start_counters(name)
        self._claim_jobs.labels(lane).observe(len(jobs))
        self._stage_s.labels("claim").observe(seconds)

    def read(self, jobs: Sequence[Job], seconds: float) -> None:  # noqa: ARG002
        """Observes the duration of a read."""
        self._stage_s.labels("read").observe(seconds)

    def computed(self, task: str, results: Sequence[Computed], seconds: float) -> None:  # noqa: ARG002
        """Observes the duration of an embedding, or of the parsing of files."""
        self._stage_s.labels(task).observe(seconds)

    def stored(
        self, settled: Sequence[tuple[Computed, str | RowFailure]], outcomes: Mapping[str, int], seconds: float
    ) -> None:
        """Counts a store; `failed` counts its failures."""
        self._stage_s.labels("store").observe(seconds)
        if truncated := sum(1 for result, outcome in settled if result.dropped and outcome in STORED):
            self._truncations.labels(settled[0][0].job.pipeline.name).inc(truncated)
        for outcome, count in outcomes.items():
            if outcome != "failed":
                self._rows.labels(settled[0][0].job.pipeline.name, outcome).inc(count)

    def failed(self, job: Job, failure: RowFailure, outcome: str) -> None:
        """Counts a failed attempt."""
        self._failures.labels(job.pipeline.name, failure.reason, outcome).inc()

    def released(self, jobs: Sequence[Job]) -> None:
        """Counts released jobs, which may be of several pipelines at shutdown."""
        for job in jobs:
            self._released.labels(job.pipeline.name).inc()

    def suspected(self, job: Job) -> None:
        """Counts a suspect."""
        self._suspects.labels(job.pipeline.name).inc()

    def extended(self, held: int, lost: int) -> None:
        """Counts extended and lost leases."""
        self._extensions.inc(held)
        self._lost.inc(lost)

    def connection(self, purpose: str, up: bool) -> None:
        """Records the state; each failed reconnection counts as a loss."""
        self._up.labels(purpose).set(up)
        if not up:
            self._losses.labels(purpose).inc()

    def loaded(self, model: str, fingerprint: str) -> None:
        """Marks a model as loaded."""
        self._loaded.labels(model, fingerprint).set(1)

    def model_ran(self, run: InferenceStats) -> None:
        """Counts a run of a model."""
        self._texts.labels(run.model, run.kind).inc(run.texts)
        self._tokens.labels(run.model, run.kind).inc(run.tokens)
        self._padding.labels(run.model, run.kind).inc(run.padding)
        self._run_texts.labels(run.model).observe(run.texts)
        self._run_s.labels(run.model).observe(run.seconds)

    def recalled(self, model: str, texts: int, tokens: int) -> None:
        """Counts texts whose vectors were held from before."""
        self._recalled.labels(model).inc(texts)
        self._recalled_tokens.labels(model).inc(tokens)

    def request_began(self) -> None:
        """Counts a request in progress."""
        self._answering.inc()

    def truncated(self, model: str, texts: int) -> None:
        """Counts texts of a request that were cut."""
        self._cut_texts.labels(model).inc(texts)

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:  # noqa: ARG002
        """Counts a finished request; an unknown method is counted as `other`."""
        self._answering.dec()
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)
