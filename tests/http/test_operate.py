"""/api/v1/status and /api/v1/retry: what the page does, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pgembedd.model import Session
from tests.http.page import give_up, make_library
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.json_fields import breaches
from tests.support.sql import value


@pytest.fixture
def client(database: Database, model: Session) -> Iterator[httpx.Client]:
    with database.connect() as connection:
        make_library(connection, model)
    with serving(only(model), database.conninfo, http_token=TOKEN) as client:
        yield client


@pytest.mark.slow
def test_status_and_retry(client: httpx.Client, database: Database) -> None:
    status = client.get("/api/v1/status").json()["pipelines"]
    assert [one["pipeline"] for one in status] == ["broken", "documents"]
    shown = {"state": "running", "dead": 3, "queued_backfill": 0, "oldest_age_s": None, "coverage": 0.0, "lag_s": None}
    assert {name: status[0][name] for name in shown} == shown
    assert [*breaches(status)] == []
    assert status[1]["oldest_age_s"] > 0

    assert client.post("/api/v1/retry", json={"pipeline": "documents"}).json() == {"retried": 0}
    assert client.post("/api/v1/retry", json={"pipeline": "broken", "reason": "content"}).json() == {"retried": 2}
    assert client.post("/api/v1/retry", json={}).json() == {"retried": 1}
    with database.connect() as connection:
        assert value(connection, "select count(*) from pgembedd.dead_letters") == 0
        give_up(connection)
    assert client.get("/api/v1/status").json()["pipelines"][0]["dead"] == 3

    for asked, expected in REFUSED:
        answer = client.post("/api/v1/retry", content=json.dumps(asked), headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == expected, asked
    assert client.post("/api/v1/retry", json={}, headers={"authorization": "Bearer x"}).status_code == 401
    assert client.get("/api/v1/status").json()["pipelines"][0]["dead"] == 3


REFUSED: list[tuple[Any, tuple[int, str]]] = [
    ({"pipeline": "gone"}, (404, "pipeline_not_found")),
    ({"pipeline": "\0"}, (422, "wrong_shape")),
    ({"reason": "\ud800"}, (422, "wrong_shape")),
    ({"reason": 1}, (422, "wrong_shape")),
    ({"reason": "typo"}, (422, "wrong_shape")),
    ({"reasn": "content"}, (422, "wrong_shape")),
    ([], (422, "wrong_shape")),
]
