"""Messages of other senders become dead letters and never break a claim."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.prepared import prepared
from tests.support.sql import (
    claim,
    create_pipeline,
    fail,
    let_leases_run_out,
    make_documents,
    read,
    release,
    rows,
    store,
    value,
    work,
)
from tests.support.transaction import connection

__all__ = ["connection"]

GUIDE = {"schema": "public", "table": "documents", "contentFunction": "embedding_input", "embeddingColumn": "embedding"}


def send(connection: psycopg.Connection, message: Any) -> None:
    connection.execute(
        "insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), %s)",
        [None if message is None else Jsonb(message)],
    )


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Three rows that are not queued."""
    make_documents(connection, 3)
    create_pipeline(connection, backfill=False)


UNKNOWN: list[Any] = [
    None,
    5,
    "pipeline",
    True,
    [],
    [1, 2],
    ["pipeline", "id"],
    {},
    {"id": 1},
    {"id": None, "pipeline": 1},
    {"pipeline": 1},
    {"id": 1, "pipeline": 999},
    {"id": 1, "pipeline": -1},
    {"id": 1, "pipeline": "one"},
    {"id": 1, "pipeline": None},
    {"id": 1, "pipeline": [1]},
    {"id": 1, "pipeline": {"id": 1}},
    {"id": 1, "pipeline": 10**300},
    {"id": 1, "pipeline": "1; drop table documents"},
    {"id": 1, **GUIDE, "table": "nobody"},
    {"id": 1, **GUIDE, "table": None},
    {"id": 1, **GUIDE, "table": ""},
    {"id": 1, **GUIDE, "table": 'docu"ments'},
    {"id": 1, **GUIDE, "table": "x" * 1000},
    {"id": 1, **GUIDE, "table": {"a": 1}},
    {"id": 1, **GUIDE, "schema": "pg_temp_99"},
    {"id": 1, **GUIDE, "embeddingColumn": "nothing"},
    {"id": 1, **GUIDE, "embeddingColumn": None},
    {**GUIDE},
]


@pytest.mark.parametrize("message", UNKNOWN, ids=lambda message: repr(message)[:60])
def test_junk_becomes_a_dead_letter(documents: psycopg.Connection, message: Any) -> None:
    send(documents, message)
    send(documents, {"id": 3, "pipeline": 1})
    status = value(documents, "select count(*) from pgembedd.status")
    assert status == 1
    assert work(documents) == {3: "written"}
    ((pipeline, reason, kept),) = rows(documents, "select pipeline, reason, message from pgembedd.dead_letters")
    assert (pipeline, reason) == (None, "unknown_pipeline")
    assert kept == message
    assert value(documents, "select pgembedd.retention() + pgembedd.sweep()") == 2  # rows 1 and 2
    assert value(documents, "select pgembedd.retry_dead_letters()") == 1
    work(documents)
    assert value(documents, "select count(*) from pgembedd.dead_letters") == 1


WRONG_KEYS: list[Any] = ["abc", 1.5, 10**40, True, [1], {"a": 1}, "", 99999999999]


@pytest.mark.own_database
@pytest.mark.parametrize("key", WRONG_KEYS, ids=repr)
def test_a_key_of_a_wrong_type_dies_alone(documents: psycopg.Connection, key: Any) -> None:
    """The read fails for it; the worker splits the claim until the bad one stands alone."""
    send(documents, {"id": key, "pipeline": 1})
    for _ in range(5):
        let_leases_run_out(documents)
        (job,) = claim(documents)
        with pytest.raises(psycopg.DataError):
            read(documents, [job])
        with pytest.raises(psycopg.DataError):
            store(documents, [job], [])
        outcome = fail(documents, job)[0]
    assert outcome == "dead"
    assert value(documents, "select pgembedd.tick(0, 0)") == 3
    assert rows(documents, "select key from pgembedd.dead_letters") == [(key,)]
    assert set(work(documents).values()) == {"written"}


def test_one_such_key_does_not_hold_up_the_retention_of_others(documents: psycopg.Connection) -> None:
    make_other = "create table letters (id int primary key, title text)"
    documents.execute(make_other)
    create_pipeline(documents, pipeline="letters", source="letters", content_columns=["title"])
    send(documents, {"id": "abc", "pipeline": 1})
    fail(documents, claim(documents)[0], permanent=True)
    documents.execute("insert into letters values (1, ' ')")
    work(documents)
    documents.execute("delete from letters")
    assert value(documents, "select pgembedd.retention()") == 1


def test_parts_of_a_composite_key_may_be_missing(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (a int, b text, title text, primary key (a, b))")
    create_pipeline(connection, content_columns=["title"])
    for key in ({"a": 1}, {"a": 1, "b": "x", "c": 5}, {}, {"b": {"deep": [1]}}):
        send(connection, {"id": key, "pipeline": 1})
    assert set(work(connection).values()) == {"gone"}


NOTES: list[Any] = [
    None,
    5,
    [],
    ["traceparent"],
    "traceparent",
    {"attempts": "many", "alone": "x", "deferrals": None, "rewritten": {}},
    {"attempts": 1e300, "deferrals": -5, "alone": -1e300},
    {"attempts": 0.7, "history": 5},
    {"history": [5]},
    {"history": [{"read_ct": "one"}]},
    {"traceparent": {"a": 1}},
    {"traceparent": None},
]


@pytest.mark.parametrize("notes", NOTES, ids=repr)
def test_notes_of_others_never_break_a_claim(documents: psycopg.Connection, notes: Any) -> None:
    send(documents, {"id": 1, "pipeline": 1, "pgembedd": notes})
    (job,) = claim(documents)
    assert value(documents, "select count(*) from pgembedd.status") == 1
    release(documents, [job])
    (job,) = claim(documents)
    outcomes = [fail(documents, job)[0]]
    while outcomes[-1] == "retry":
        assert len(outcomes) < 6
        let_leases_run_out(documents)
        outcomes.append(fail(documents, claim(documents)[0])[0])
    assert outcomes[-1] == "dead"
    assert value(documents, "select message from pgembedd.dead_letters") == {"id": 1, "pipeline": 1}


def test_fields_of_others_are_kept(documents: psycopg.Connection) -> None:
    given = {"id": 1, "pipeline": 1, "x-mine": [1, 2]}
    send(documents, {**given, "pgembedd": {"odd": True}})
    fail(documents, claim(documents)[0])
    message = value(documents, "select message from pgmq.q_pgembedd_fresh")
    assert message.pop("pgembedd")["odd"] is True
    assert message == given
