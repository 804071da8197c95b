"""The memory of a service is bounded: the worst request of each kind is answered or refused, and little stays of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from pgembedd.model import Session
from tests.acceptance.test_serve import service, url
from tests.support.databases import Database
from tests.support.http import PLAIN
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import call
from tests.support.worker import WorkerProcess

ROWS, WORDS = 1_000, 40_000  # larger rows make no larger hits, only slow ones
MOST_MB = 700  # above what the service takes once its model is loaded
MANY = list(range(0, 600_000, 2))
SEARCH = {"pipeline": "documents", "query": "word", "mode": "text"}
WORST: list[tuple[str, Any, int]] = [
    ("/api/v1/search", SEARCH | {"k": 1000, "snippet_length": 10_000, "snippet_marks": ["<" * 64, ">" * 64]}, 200),
    ("/api/v1/search", SEARCH | {"snippet_marks": ["<" * 20_000, ""]}, 422),
    ("/api/v1/search", SEARCH | {"k": 1000, "filter": {"id": {"$in": MANY}}}, 200),
    ("/api/v1/search", SEARCH | {"k": 1000, "filter": {"$not": {"id": {"$nin": MANY}}}}, 200),
    ("/api/v1/search", SEARCH | {"filter": {"data.a": {"$in": MANY}}}, 200),
    ("/api/v1/search", SEARCH | {"query": "word " * 19_000}, 200),
    ("/api/v1/search", SEARCH | {"query": "word " * 700_000}, 422),
    ("/api/v1/search", {**SEARCH, "filter": {"id": {"$in": [[]] * 1_000_000}}}, 422),
    ("/embed", {"input": "word " * 800_000}, 200),
    ("/embed", {"input": ["word " * 300] * 700}, 200),
    ("/embed", {"input": [""] * 1_000_000}, 422),
    ("/v1/embeddings", {"input": [1] * 1_500_000}, 400),
    ("/v1/rerank", {"query": "word " * 700_000, "documents": ["x"]}, 422),
    ("/api/v1/answers", {"pipeline": "documents", "question": "word " * 700_000}, 422),
]


def peak_mb(process: WorkerProcess) -> int:
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


@pytest.mark.release
def test_the_worst_request_of_each_kind_takes_bounded_memory(
    roles: Roles, database: Database, connection: psycopg.Connection, model: Session
) -> None:
    role = roles.make("app", "noinherit")
    connection.execute("create table documents (id int primary key, body text, data jsonb)")
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', array['body'], dimensions => 384,"
        " text_config => 'simple', model => 'all-MiniLM-L6-v2', backfill => false);"
        " alter table documents disable trigger user"
    )
    connection.execute(
        "insert into documents select i, repeat('word ', %s), jsonb_build_object('a', i),"
        " array_fill(i, array[384])::vector from generate_series(1, %s) i",
        [WORDS, ROWS],
    )
    while not connection.execute("select filled from pgembedd_internal.word_statistics").fetchall()[0][0]:
        connection.execute("select pgembedd_internal._fill_words(p, 1000) from pgembedd_internal.pipeline p")
    call(connection, "grant_search", role=role)
    connection.execute(f"grant select on documents to {role}")
    call(connection, "sweep")
    with service(database.conninfo, PGEMBEDD_SEARCH_URL=conninfo_as(database, role)) as process:
        process.await_event("model_loaded")
        with httpx.Client(base_url=url(process), timeout=300, verify=PLAIN) as client:
            client.post("/embed", json={"input": "x"})
            before = peak_mb(process)
            for path, body, status in WORST:
                answer = client.post(
                    path, content=json.dumps(body, separators=(",", ":")), headers={"content-type": "application/json"}
                )
                shown = (path, list(body), answer.status_code, len(answer.content), answer.text[:200])
                assert answer.status_code == status, shown
                assert status == 200 or len(answer.content) < 1_000, shown
                assert peak_mb(process) < before + MOST_MB, shown
            largest = client.post("/api/v1/search", json=WORST[0][1])
            assert len(largest.json()["hits"]) == ROWS
            assert len(largest.content) < ROWS * (32_768 + 4 * 10_000)
