"""The spans of FastAPI itself, which hold arguments, are off where the process has a tracer provider."""

from __future__ import annotations

from tests.support.bounded import said_by

PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.http import serving

spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
with serving(None) as client:
    assert client.get("/livez").status_code == 200
print([span.name for span in spans.get_finished_spans()])
"""


def test_fastapi_makes_no_spans() -> None:
    assert said_by(PROGRAM).splitlines()[-1] == "[]"
