"""Both Edge Functions called `embed`: a question in an object, or as a GET, and jobs in an array."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from pgembedd.model import Session
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving

PATH = "/functions/v1/embed"


def test_a_question_is_answered_as_by_embed(model: Session) -> None:
    vector = model.embed(["hello world"], kind="query").vectors[0]
    with serving(only(model)) as client:
        posted = client.post(PATH, json={"input": "hello world"})
        spaced = client.post(PATH, content=b' \n{"input": "hello world"}', headers={"content-type": "application/json"})
        asked = client.get(PATH, params={"input": "hello world"})

    assert np.array_equal(np.float32(posted.json()["embedding"]), vector)
    assert spaced.json() == posted.json()
    assert np.array_equal(np.float32(asked.json()), vector)


def test_jobs_are_worked(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo) as client:
        answer = client.post(PATH, json=[])

    assert (answer.status_code, answer.json()) == (200, {"completedJobs": [], "failedJobs": []})


@pytest.mark.parametrize(
    ("scopes", "question", "jobs"),
    [("embed", 200, 403), ("jobs", 403, 200), ("admin", 403, 403), ("embed,jobs", 200, 200)],
)
def test_each_needs_its_own_scope(
    database: Database, model: Session, tmp_path: Path, scopes: str, question: int, jobs: int
) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"one-of-some-scopes {scopes}\n")
    path.chmod(0o600)
    bearer = {"authorization": "Bearer one-of-some-scopes"}
    with serving(only(model), database.conninfo, http_token=TOKEN, http_tokens_file=str(path)) as client:
        assert client.post(PATH, json={"input": "x"}, headers=bearer).status_code == question
        assert client.post(PATH, json=[], headers=bearer).status_code == jobs
        assert client.post(PATH, json={"input": "x"}, headers={"authorization": "Bearer wrong"}).status_code == 401


def refused(client: httpx.Client, body: bytes) -> int:
    return client.post(PATH, content=body, headers={"content-type": "application/json"}).status_code


def test_anything_else_is_refused(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo) as client:
        assert [refused(client, body) for body in (b"{", b"", b"5", b'{"inputs": 5}', b"[{")] == [
            400,
            422,
            422,
            422,
            400,
        ]
