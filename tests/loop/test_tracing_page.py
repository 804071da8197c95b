"""The instructions of docs/how-to/tracing.md for writers work: the context of their span is in the message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import event
from sqlalchemy.orm import Session

from tests.support.databases import Database
from tests.support.embedders import MODEL
from tests.support.prepared import prepared
from tests.support.sql import value

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tracing.md"


def example(language: str, containing: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (found,) = [text for kind, text in blocks if kind == language and containing in text]
    return str(found)


@prepared
def documents(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int generated always as identity primary key, title text)")
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', array['title'], model => %s)", [MODEL]
    )


def traceparent(connection: psycopg.Connection) -> Any:
    return value(connection, "select message -> 'pgembedd' ->> 'traceparent' from pgmq.q_pgembedd_fresh")


def in_a_span(code: str, names: dict[str, Any]) -> str:
    """Run an example inside a span; the context it should have told."""
    with TracerProvider().get_tracer("application").start_as_current_span("write") as span:
        exec(code, names)  # our own document
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_psycopg(documents: psycopg.Connection) -> None:
    told = in_a_span(example("python", "psycopg"), {"connection": documents})

    assert traceparent(documents) == told


def test_psycopg_without_a_span(documents: psycopg.Connection) -> None:
    exec(example("python", "psycopg"), {"connection": documents})

    assert traceparent(documents) is None


def test_sqlalchemy(database: Database, documents: psycopg.Connection) -> None:
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(database.conninfo).set(drivername="postgresql+psycopg"))
    names: dict[str, Any] = {"engine": engine}
    try:
        told = in_a_span(example("python", "sqlalchemy"), names)
    finally:
        event.remove(Session, "after_begin", names["tell_pgembedd"])
        engine.dispose()

    assert traceparent(documents) == told


def test_sql(documents: psycopg.Connection) -> None:
    statements = example("sql", "set local")
    documents.execute(statements.encode())

    assert f"'{traceparent(documents)}'" in statements
    assert value(documents, "select current_setting('pgembedd.traceparent')") == ""
