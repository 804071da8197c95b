"""OpenTelemetry spans of a row's stages, in the trace of the transaction that wrote the row.

The writer's trace context travels in the message; jobs without one make no spans, and neither do processes
without tracing. Spans hold durations and outcomes, never the content or the key of a row.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pgembedd.database.records import Computed, Job
from pgembedd.errors import RowFailure
from pgembedd.telemetry.observer import Observer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

LAST_S = 2.0
# The stage of a failed attempt, by its reason.
STAGES = {"content": "read", "file": "parse", "model": "embed", "write": "store"}


class SpanRecorder(Observer):
    """Makes the spans when a stage has ended."""

    def __init__(self, provider: "TracerProvider") -> None:
        """`provider` samples and exports them, and is shut down with this."""
        self._provider = provider
        self._tracer = provider.get_tracer("pgembedd", version("pgembedd"))
        self._extract = TraceContextTextMapPropagator().extract
        self._lanes: dict[str, str] = {}

    @property
    def resource(self) -> Mapping[str, Any]:
        """The resource attributes of this process."""
        return self._provider.resource.attributes

    def claimed(self, lane: str, jobs: Sequence[Job], seconds: float) -> None:
        """Records the wait in the queue and the claim of each job."""
        end = time.time()
        for job in jobs:
            if job.traceparent:
                self._lanes[job.queue] = lane
                began = end - seconds
                self._job("queue", job, end - max(job.waited_s, seconds), began, kind=SpanKind.CONSUMER)
                self._job("claim", job, began, end)

    def read(self, jobs: Sequence[Job], seconds: float) -> None:
        """Records the read of a batch in the trace of each row."""
        end = time.time()
        for job in jobs:
            self._job("read", job, end - seconds, end)

    def computed(self, task: str, results: Sequence[Computed], seconds: float) -> None:
        """Records the time from passing the texts to the model to having the vectors, and that of files alike."""
        end = time.time()
        for result in results:
            if result.job.traceparent:
                tokens = sum(vector.tokens for vector in result.vectors)
                known = {"pgembedd.tokens": tokens, "pgembedd.texts": len(result.vectors)}
                self._job(task, result.job, end - seconds, end, known)

    def stored(
        self,
        settled: Sequence[tuple[Computed, str | RowFailure]],
        outcomes: Mapping[str, int],  # noqa: ARG002
        seconds: float,
    ) -> None:
        """Records the store of a batch with the outcome of each row."""
        end = time.time()
        for result, outcome in settled:
            if result.job.traceparent and isinstance(outcome, str):
                self._job("store", result.job, end - seconds, end, {"pgembedd.outcome": outcome})

    def failed(self, job: Job, failure: RowFailure, outcome: str) -> None:
        """Records the failed stage with the reason's word alone, since the detail may be content."""
        end = time.time()
        self._job(STAGES.get(failure.reason, "attempt"), job, end, end, {"pgembedd.outcome": outcome}, failure.reason)

    def request_ended(self, method: str, route: str, status: int, seconds: float, traceparent: str | None) -> None:
        """Records a request that came with a trace context."""
        end = time.time()
        known = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        error = str(status) if status >= 500 else None
        self._span(f"{method} {route}", traceparent, end - seconds, end, known, error, SpanKind.SERVER)

    def close(self) -> None:
        """Sends the remaining spans within LAST_S; the process does not wait longer for a collector."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_S)

    def _job(
        self,
        stage: str,
        job: Job,
        began: float,
        ended: float,
        known: Mapping[str, Any] | None = None,
        error: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        common = {
            "pgembedd.pipeline": job.pipeline.name,
            "pgembedd.model": job.pipeline.model,
            "pgembedd.lane": self._lanes.get(job.queue, ""),
            "pgembedd.attempt": job.attempt,
        }
        self._span(f"pgembedd {stage}", job.traceparent, began, ended, common | dict(known or {}), error, kind)

    def _span(
        self,
        name: str,
        traceparent: str | None,
        began: float,
        ended: float,
        attributes: Mapping[str, Any],
        error: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """Makes a span from `began` to `ended`, seconds since the epoch, as a child of the one in `traceparent`."""
        if not traceparent:
            return
        context = self._extract({"traceparent": traceparent})
        if not get_current_span(context).get_span_context().is_valid:
            return
        span = self._tracer.start_span(name, context, kind, attributes=attributes, start_time=int(began * 1e9))
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(int(ended * 1e9))
