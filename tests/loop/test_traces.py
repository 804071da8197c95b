"""A row's way from its writer's span to its vector is one trace; nothing of the row is in it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from psycopg.types.json import Jsonb

from pgembedd.errors import ModelError
from pgembedd.model import Session
from pgembedd.telemetry.observer import ObserverGroup
from pgembedd.telemetry.spans import SpanRecorder
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, waiting
from tests.support.embedders import MODEL, Wrapped, only
from tests.support.http import serving
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

STAGES = ["pgembedd queue", "pgembedd claim", "pgembedd read", "pgembedd embed", "pgembedd store"]


class Tracing:
    """A provider of the real SDK that keeps what ends; `traces` is what a worker is given, `writer` an application."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = SpanRecorder(self.provider)
        self.writer = self.provider.get_tracer("application")

    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def of(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans() if span.name == name]
        return span


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    made = Tracing()
    yield made
    made.provider.shutdown()


def write(connection: psycopg.Connection, tracing: Tracing, statement: str) -> ReadableSpan:
    """Run a statement as docs/how-to/tracing.md says, in a span of the application's."""
    carrier: dict[str, str] = {}
    with tracing.writer.start_as_current_span("write documents") as span, connection.transaction():
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
        connection.execute("select set_config('pgembedd.traceparent', %s, true)", [carrier["traceparent"]])
        connection.execute(statement.encode())
    assert isinstance(span, ReadableSpan)
    return span


def test_a_row_is_one_trace_from_its_insert_to_its_vector(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    make_documents(connection)
    parent = write(connection, tracing, "insert into documents values (1, 'a secret text')")
    insert(connection, [2, 3])  # these are not traced
    with worker_thread(database, only(Wrapped(model)), observer=ObserverGroup([tracing.traces])):
        await_quiet(connection)
        eventually(lambda: len(tracing.spans()) == 1 + len(STAGES), timeout_s=PATIENCE_S)

    stages = [span for span in tracing.spans() if span.name != "write documents"]
    assert sorted(span.name for span in stages) == sorted(STAGES)
    assert parent.context is not None
    for span in stages:
        assert span.context is not None
        assert span.parent is not None
        assert span.context.trace_id == parent.context.trace_id
        assert span.parent.span_id == parent.context.span_id
        assert span.status.status_code is StatusCode.UNSET
        attributes = dict(span.attributes or {})
        assert attributes["pgembedd.pipeline"] == "documents"
        assert (attributes["pgembedd.lane"], attributes["pgembedd.attempt"]) == ("fresh", 1)
        assert (span.start_time or 0) <= (span.end_time or 0)
    assert tracing.of("pgembedd queue").kind is SpanKind.CONSUMER
    assert dict(tracing.of("pgembedd embed").attributes or {})["pgembedd.tokens"] == 5
    assert dict(tracing.of("pgembedd store").attributes or {})["pgembedd.outcome"] == "written"
    assert "secret" not in "".join(span.to_json() for span in tracing.spans())


def test_the_spans_follow_upon_each_other(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    make_documents(connection)
    write(connection, tracing, "insert into documents values (1, 'text')")
    connection.execute("update pgmq.q_pgembedd_fresh set enqueued_at = enqueued_at - interval '1 minute'")
    with worker_thread(database, only(Wrapped(model)), observer=tracing.traces):
        await_quiet(connection)
        eventually(lambda: len(tracing.spans()) == 1 + len(STAGES), timeout_s=PATIENCE_S)

    queue, claim, read, embed, store = (tracing.of(name) for name in STAGES)
    times = [queue.start_time, queue.end_time, claim.end_time, read.end_time, embed.end_time, store.end_time]
    assert times == sorted(time or 0 for time in times)
    assert queue.end_time == claim.start_time
    assert 60e9 < (queue.end_time or 0) - (queue.start_time or 0) < 600e9


def test_a_failure_is_recorded_by_its_word_alone(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    def refuse(texts: object) -> None:
        raise ModelError("it chokes on 'a secret text'")

    make_documents(connection, retry_delay="1 min")
    write(connection, tracing, "insert into documents values (1, 'a secret text')")
    with worker_thread(database, only(Wrapped(model, on_result=refuse)), observer=tracing.traces):
        eventually(lambda: [job.attempts for job in waiting(connection)] == [1], timeout_s=PATIENCE_S)
        eventually(lambda: len(tracing.spans()) == 5, timeout_s=PATIENCE_S)

    failed = tracing.of("pgembedd embed")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "model")
    attributes = dict(failed.attributes or {})
    assert (attributes["error.type"], attributes["pgembedd.outcome"]) == ("model", "retry")
    assert "secret" not in "".join(span.to_json() for span in tracing.spans())


def test_a_trace_that_is_not_sampled_makes_no_spans(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    make_documents(connection)
    for given in ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "nonsense"):
        connection.execute("select set_config('pgembedd.traceparent', %s, false)", [given])
        insert(connection, [len(given)])
    with worker_thread(database, only(Wrapped(model)), observer=tracing.traces):
        await_quiet(connection)

    assert tracing.spans() == []


def test_junk_in_a_message_makes_no_trace_and_no_harm(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    make_documents(connection)
    insert(connection, [1, 2])
    junk = Jsonb({"pgembedd": {"traceparent": "00-junk"}})
    connection.execute("update pgmq.q_pgembedd_fresh set message = message || %s", [junk])
    with worker_thread(database, only(Wrapped(model)), observer=tracing.traces):
        await_quiet(connection)

    assert tracing.spans() == []


def test_a_hundred_rows_of_a_claim_are_traced(
    database: Database, connection: psycopg.Connection, model: Session, tracing: Tracing
) -> None:
    make_documents(connection)
    write(connection, tracing, "insert into documents select i, 'text' from generate_series(1, 150) i")
    with worker_thread(database, only(Wrapped(model)), observer=tracing.traces, claim_size=200):
        await_quiet(connection)
        eventually(
            lambda: len([1 for span in tracing.spans() if span.name == "pgembedd store"]) == 100, timeout_s=PATIENCE_S
        )
    assert len([1 for span in tracing.spans() if span.name == "pgembedd queue"]) == 100


def test_a_request_continues_the_trace_it_came_with(model: Session, tracing: Tracing) -> None:
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with serving(only(model), observer=tracing.traces) as client:
        ask(client, f"00-{trace_id}-{span_id}-01")
        ask(client, "nonsense")
        ask(client, None)
        eventually(lambda: len(tracing.spans()) == 1, timeout_s=PATIENCE_S)

    (span,) = tracing.spans()
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (trace_id, span_id)
    assert (span.name, span.kind) == ("POST /embed", SpanKind.SERVER)
    assert dict(span.attributes or {})["http.response.status_code"] == 200


def ask(client: httpx.Client, traceparent: str | None) -> None:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    assert client.post("/embed", json={"input": "hello", "model": MODEL}, headers=headers).status_code == 200
