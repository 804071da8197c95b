"""The worker's process sends its spans by OTLP, and a collector that is away is no concern of the rows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.databases import Database
from tests.support.documents import await_quiet, make_documents
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import WorkerProcess

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = {"pgembedd queue", "pgembedd claim", "pgembedd read", "pgembedd embed", "pgembedd store"}


class Receiver:
    """A collector: OTLP over HTTP, decoded and kept."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.spans: list[Span] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.keep(self.path, ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def keep(self, path: str, request: ExportTraceServiceRequest) -> None:
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def insert_traced(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute(f"set local pgembedd.traceparent = '00-{TRACE_ID}-{SPAN_ID}-01'")
        connection.execute("insert into documents values (1, 'a secret text')")


@pytest.mark.slow
def test_a_row_arrives_at_the_collector_as_one_trace(database: Database, receiver: Receiver) -> None:
    endpoint = f"http://127.0.0.1:{receiver.server.server_port}"
    with database.connect() as connection:
        make_documents(connection)
        insert_traced(connection)
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with WorkerProcess(database.conninfo, **environment) as worker:
            await_quiet(connection)
            worker.send(signal.SIGTERM)  # what has not been sent goes now
            assert worker.wait() == 0

    assert {span.name for span in receiver.spans} == STAGES
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE_ID}
    assert {span.parent_span_id.hex() for span in receiver.spans} == {SPAN_ID}
    assert receiver.services == {"pgembedd"}
    assert "secret" not in "".join(map(str, receiver.spans))


@pytest.mark.slow
def test_rows_get_their_vectors_though_no_collector_is_there(database: Database) -> None:
    with database.connect() as connection:
        make_documents(connection)
        insert_traced(connection)
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with WorkerProcess(database.conninfo, **environment) as worker:
            await_quiet(connection)
            eventually(lambda: worker.named("traces_not_sent") != [], timeout_s=PATIENCE_S)
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        assert [line for line in worker.lines if not line.startswith("{")] == [], "every line is an event"
        assert worker.named("traces_on") != []
