"""The events on the channel pgembedd_events: one shape, no content, nothing from a writer's transaction."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import (
    call,
    claim,
    claim_one,
    create_pipeline,
    empty,
    fail,
    let_leases_run_out,
    make_documents,
    rows,
    store,
    value,
    work,
)

COUNTS = ("written", "cleared", "unchanged", "gone", "changed", "rewritten", "locked", "refused")


class Ear:
    """A session that listens; `heard()` are the events since the last time."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        connection.execute("listen pgembedd_events")

    def payloads(self) -> list[str]:
        """Returns the events that were committed before; they come with the result of a statement."""
        self._connection.execute("select 1")
        return [notice.payload for notice in self._connection.notifies(timeout=0)]

    def heard(self) -> list[dict[str, Any]]:
        """The events, parsed; each has the fields that its document says, and no others."""
        events = [json.loads(payload) for payload in self.payloads()]
        for event in events:
            missing = documented()[event["event"]] - set(event) - set(event.get("left_out", ()))
            assert (missing, set(event) - documented()[event["event"]] - {"left_out"}) == (set(), set())
        return events


@cache
def documented() -> dict[str, set[str]]:
    """The fields of each event, as docs/reference/events.md has them."""
    text = (Path(__file__).parents[3] / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    rows = {
        word: set(re.findall(r"`(\w+)`", said)) for word, said in re.findall(r"^\| `(\w+)` \|.*\| (.*)\|$", text, re.M)
    }
    rows["reverted"] = rows["switched"]
    return {word: fields | {"event", "pipeline", "pipeline_id", "at", "nth"} for word, fields in rows.items()}


@prepared
def documents(connection: psycopg.Connection) -> None:
    """A pipeline without rows."""
    make_documents(connection)
    create_pipeline(connection)


@pytest.fixture
def ear(documents: psycopg.Connection, other: psycopg.Connection) -> Ear:
    """A session that listens since the pipeline `documents` was made."""
    return Ear(other)


def fields(event: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(event.get(name) for name in names)


def test_a_store_is_told_once_with_what_became_of_its_rows(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("insert into documents values (1, 'a'), (2, 'b'), (3, ' '), (4, 'd'), (5, 'e')")
    jobs = claim(connection)
    connection.execute("delete from documents where id = 4")
    ear.heard()
    store(connection, jobs)
    (event,) = ear.heard()
    assert fields(event, "event", "pipeline", "pipeline_id", "queue") == ("stored", "documents", 1, "pgembedd_fresh")
    assert {name: event[name] for name in COUNTS if event[name]} == {"written": 3, "unchanged": 1, "gone": 1}
    assert 0 <= event["lag_s"] < 600
    told = datetime.fromisoformat(event["at"])
    assert abs(value(connection, "select now()") - told) < timedelta(minutes=10)


def test_a_store_with_chunks_is_told_too(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("insert into documents values (1, 'a')")
    create_pipeline(connection, pipeline="chunks", embedding_table="document_chunks")
    connection.execute("select pgembedd_internal.pin_model(2, 'fingerprint')")
    ear.heard()
    work(connection, ["pgembedd_backfill"])
    assert [fields(event, "event", "pipeline", "written") for event in ear.heard()] == [("stored", "chunks", 1)]


def test_what_waits_is_counted_and_what_was_lost_is_not_told(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("insert into documents values (1, 'a')")
    jobs = claim(connection)
    with connection.transaction():
        connection.execute("update documents set title = 'b'")
        assert store(connection, jobs) == ["written"]
    let_leases_run_out(connection)
    ear.heard()
    assert store(connection, jobs) == ["lost"]
    assert ear.heard() == []


def test_an_attempt_that_failed_is_told_without_its_error(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("insert into documents values (7, 'secret title')")
    job = claim_one(connection)
    fail(connection, job, reason="content", error="secret error")
    (payload,) = ear.payloads()
    event = json.loads(payload)
    assert "secret" not in payload
    assert fields(event, "event", "key", "reason", "attempts") == ("attempt_failed", 7, "content", 1)
    assert event["msg_id"] == job.msg_id
    assert 1 < event["retry_in_s"] < 3
    let_leases_run_out(connection)
    fail(connection, claim_one(connection), reason="write", error="secret error", permanent=True)
    (payload,) = ear.payloads()
    event = json.loads(payload)
    assert "secret" not in payload
    assert fields(event, "event", "pipeline", "key", "reason", "attempts") == (
        "dead_letter", "documents", 7, "write", 2,
    )  # fmt: skip


def test_an_answer_that_comes_twice_is_told_once(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("insert into documents values (1, 'a')")
    job = claim_one(connection)
    ear.heard()
    fail(connection, job)
    fail(connection, job)
    assert len(ear.heard()) == 1


def test_a_job_of_nobodys_is_told_without_a_pipeline(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute('insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), \'{"id": 1, "pipeline": 9}\')')
    assert claim(connection) == []
    (event,) = ear.heard()
    assert fields(event, "event", "pipeline", "pipeline_id", "reason") == (
        "dead_letter",
        None,
        None,
        "unknown_pipeline",
    )
    call(connection, "retry_dead_letters")
    assert [fields(one, "event", "pipeline", "jobs") for one in ear.heard()] == [("retried", None, 1)]


def test_dead_letters_that_go_back_are_told_by_pipeline(connection: psycopg.Connection, ear: Ear) -> None:
    create_pipeline(connection, pipeline="titles", content_columns=["title"], embedding_column="title_embedding")
    connection.execute("insert into documents values (1, 'a'), (2, 'b')")
    jobs = claim(connection)
    for job in [jobs[0], *[job for job in jobs if job.pipeline == "titles"]]:
        fail(connection, job, permanent=True)
    ear.heard()
    assert call(connection, "retry_dead_letters", reason="content") == 3
    told = {fields(one, "event", "pipeline", "jobs", "reason") for one in ear.heard()}
    assert told == {("retried", "documents", 1, "content"), ("retried", "titles", 2, "content")}
    call(connection, "retry_dead_letters")
    assert ear.heard() == []


def test_the_life_of_a_pipeline(connection: psycopg.Connection, ear: Ear) -> None:
    create_pipeline(connection, pipeline="titles", content_columns=["title"], embedding_column="title_embedding")
    connection.execute("select pgembedd_internal.stop_pipeline(2, 'The model was withdrawn.')")
    call(connection, "resume", pipeline="titles")
    call(connection, "pause", pipeline="titles")
    call(connection, "drop_pipeline", pipeline="titles")
    events = ear.heard()
    assert {fields(event, "pipeline", "pipeline_id") for event in events} == {("titles", 2)}
    assert [event["event"] for event in events] == ["created", "stopped", "resumed", "paused", "dropped"]
    assert fields(events[0], "source", "destination", "queued") == ("public.documents", "title_embedding", 0)
    assert events[1]["reason"] == "The model was withdrawn."


def test_a_change_of_model_is_told_from_its_beginning_to_its_end(connection: psycopg.Connection, ear: Ear) -> None:
    call(connection, "change_model", pipeline="documents", model="other")
    call(connection, "switch_model", pipeline="documents", force=True)
    call(connection, "revert_model", pipeline="documents", force=True)
    told = [fields(one, "event", "pipeline", "pipeline_id", "model") for one in ear.heard()]
    assert told == [
        ("created", "documents.next", 2, "other"),
        ("change_begun", "documents", 1, "gte-small"),
        ("switched", "documents", 2, "other"),
        ("reverted", "documents", 1, "gte-small"),
    ]


def test_a_sweep_that_fails_does_not_tell_what_postgres_said(connection: psycopg.Connection, ear: Ear) -> None:
    """A sentence of Postgres's may quote a row."""
    connection.execute("insert into documents values (1, 'a')")
    empty(connection)
    connection.execute("""
        create or replace function pgembedd_code.pipeline_1_named(question text, given jsonb)
            returns setof jsonb
        language plpgsql as $$ begin raise exception 'the row (1, secret)'; end $$""")
    connection.execute("select pgembedd.sweep()")
    connection.execute("select pgembedd.sweep()")  # what it meets twice stops the pipeline
    (payload,) = ear.payloads()
    assert json.loads(payload)["event"] == "stopped"
    assert "secret" not in payload
    assert "secret" in value(connection, "select reason from pgembedd.status")


def test_an_index_that_is_there_is_told(connection: psycopg.Connection, ear: Ear) -> None:
    create_pipeline(
        connection, pipeline="titles", content_columns=["title"], embedding_column="title_embedding", index_type="hnsw",
        index_when="later", index_within="0",
    )  # fmt: skip
    ear.heard()
    for (statement,) in rows(connection, "select pgembedd.index_statements('titles')"):
        connection.execute(statement)
    connection.execute("select pgembedd_internal._maintain_indexes()")
    (event,) = ear.heard()
    assert fields(event, "event", "pipeline", "index") == ("index_built", "titles", "documents_title_embedding_hnsw")


@pytest.mark.parametrize("filling", ["k", '"', "é", "\x01"])
def test_a_key_that_is_too_large_is_left_out_and_said_to_be(
    connection: psycopg.Connection, other: psycopg.Connection, filling: str
) -> None:
    connection.execute("create table letters (key text primary key, body text)")
    connection.execute("create domain long as text")
    name = "n" * 63
    create_pipeline(connection, pipeline=name, source="letters", content_columns=["body"])
    ear = Ear(other)
    # Compressed it fits into an index entry; as JSON it may be six times as long as it is.
    connection.execute("insert into letters values (%s, 'x'), (%s, 'y')", [filling * 8000, "short"])
    jobs = claim(connection)
    for job in jobs:
        fail(connection, job)
    long, short = ear.heard()
    assert fields(long, "pipeline", "key", "left_out", "msg_id") == (name, None, ["key"], jobs[0].msg_id)
    assert fields(short, "key", "left_out") == ("short", None)


def test_a_long_reason_is_left_out_too(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("select pgembedd_internal.stop_pipeline(1, %s)", ["reason " * 2000])
    (event,) = ear.heard()
    assert fields(event, "event", "pipeline", "reason", "left_out") == ("stopped", "documents", None, ["reason"])


def test_alike_events_of_one_transaction_stay_two(connection: psycopg.Connection, ear: Ear) -> None:
    """Postgres sends equal payloads of a transaction once."""
    with connection.transaction():
        for _ in range(3):
            call(connection, "pause", pipeline="documents")
    assert len(ear.heard()) == 3


def test_writers_tell_nothing(connection: psycopg.Connection, ear: Ear) -> None:
    connection.execute("select pgembedd_internal.set_idle(true)")
    connection.execute("insert into documents values (1, 'a')")
    connection.execute("update documents set title = 'b'")
    connection.execute("delete from documents")
    connection.execute("truncate documents")
    connection.execute("insert into documents select i, 'x' from generate_series(1, 1500) i")
    assert ear.heard() == []


def test_what_is_rolled_back_is_not_told(connection: psycopg.Connection, ear: Ear) -> None:
    with connection.transaction(force_rollback=True):
        call(connection, "pause", pipeline="documents")
    assert ear.heard() == []
