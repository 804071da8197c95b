"""A request may name a pipeline instead of a model; then its vectors are compared like with like."""

from __future__ import annotations

import httpx
import psycopg

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.documents import make_documents
from tests.support.embedders import only
from tests.support.http import serving


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("/embed", json={"input": "hello world", "pipeline": "documents"})


def test_a_pipeline_is_known_from_the_moment_it_is_made(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    with serving(only(model), database.conninfo) as client:
        assert ask(client).status_code == 404
        make_documents(connection)

        assert ask(client).status_code == 200


def test_another_fingerprint_is_a_conflict(database: Database, connection: psycopg.Connection, model: Session) -> None:
    make_documents(connection)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'all-MiniLM-L6-v2@another'")
    with serving(only(model), database.conninfo) as client:
        answer = ask(client)

    assert (answer.status_code, answer.json()["error"]) == (409, "model_mismatch")
    assert "all-MiniLM-L6-v2@another" in answer.json()["message"]


def test_the_default_model_is_that_of_the_oldest_pipeline(
    database: Database, connection: psycopg.Connection, model: Session
) -> None:
    make_documents(connection)
    with serving(only(model), database.conninfo, http_models="") as client:
        assert client.post("/embed", json={"input": "x"}).status_code == 200
