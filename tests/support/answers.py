"""Questions and answers in SQL, without a worker: asked with a made-up vector, taken and finished by the test."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.roles import Roles
from tests.support.search import QUERY, make_source
from tests.support.sql import rows, value

ASK = "select pgembedd.ask('documents', %s, k => 3, embedding => %s, thread => %s)"


@pytest.fixture
def asker(roles: Roles, connection: psycopg.Connection) -> str:
    """A role that may ask and reads `documents`, which has 20 rows; the session's role."""
    make_source(connection, 20)
    name = roles.make("asker")
    connection.execute("select pgembedd.grant_ask(%s)", [name])
    connection.execute(f"grant select on documents to {name}")
    connection.execute(
        "select pgembedd.configure_answers('documents', 'some-model', 'https://example.com/{id}', 'title', -1)"
    )
    connection.execute(f"set local role {name}")
    return name


def ask(connection: psycopg.Connection, question: str = "what is it", thread: UUID | None = None) -> UUID:
    asked: UUID = value(connection, ASK, question, QUERY, thread)
    return asked


def events(connection: psycopg.Connection, answer: UUID) -> list[Any]:
    return rows(
        connection, "select seq, event, data from pgembedd.answer_events where answer = %s order by seq", answer
    )


def as_worker(connection: psycopg.Connection, statement: str, *values: Any) -> list[Any]:
    role = value(connection, "select current_user")
    connection.execute("set local role pgembedd_worker")
    found = rows(connection, statement, *values)
    connection.execute(f"set local role {role}")
    return found


def claim(connection: psycopg.Connection, lease_s: float = 60, *, slow: bool = False) -> list[Any]:
    """Claims and reads as a worker does: id, attempt, model, question, history, sources of those that are read."""
    claims = "select id, attempt, model, question, history from pgembedd_internal.claim_answers(10, %s, slow => %s)"
    found = []
    for one in as_worker(connection, claims, lease_s, slow):
        ((outcome, sources),) = as_worker(connection, "select * from pgembedd_internal.read_answer(%s, %s)", *one[:2])
        found += [(*one, sources)] if outcome == "read" else []
    return found


def finish(connection: psycopg.Connection, answer: UUID, attempt: int, text: str = "So it is [1].") -> bool:
    done = Jsonb({"status": "complete", "citations": [1], "tokens": {"answer": 4}})
    ((finished,),) = as_worker(
        connection,
        "select pgembedd_internal.finish_answer(%s, %s, 'complete', %s, '{1}', '{done}', array[%s])",
        answer,
        attempt,
        text,
        done,
    )
    return bool(finished)
