"""`pgembedd up --http` in an empty folder: the README's searches over HTTP and from Python work as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from pgembedd import Database
from pgembedd.errors import SearchError
from tests.support.command import pgembedd
from tests.support.databases import initialized, open_directory
from tests.support.http import PLAIN

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def postgres_dir() -> Iterator[Path]:
    with open_directory() as directory:
        yield initialized(directory / "postgres")


def running_url(postgres_dir: Path) -> str:
    """What `pgembedd postgres url` prints, "" while none runs."""
    return pgembedd("postgres", "url", PGEMBEDD_POSTGRES_DIR=str(postgres_dir)).out.strip()


@pytest.mark.slow
def test_searches_over_http_and_from_python_need_no_set_up(postgres_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    environment |= {"PGEMBEDD_POSTGRES_DIR": str(postgres_dir), "PGEMBEDD_HTTP_MODELS": MODEL}
    environment |= {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
    for _ in range(2):  # the second time the role is there
        process = subprocess.Popen(
            [sys.executable, "-m", "pgembedd", "up", "--http", "--http-port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while "Stop with" not in (line := process.stdout.readline()):
                assert line, process.stderr.read()
            while '"http_started"' not in (line := process.stderr.readline()):
                assert line
            port = int(line.partition('"port": ')[2].partition(",")[0])
            check_searches(running_url(postgres_dir), port, postgres_dir, monkeypatch)
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert pgembedd("postgres", "url", PGEMBEDD_POSTGRES_DIR=str(postgres_dir)).code == 1
    with pytest.raises(SearchError, match="let `pgembedd up` run here"):
        Database()


def check_searches(url: str, port: int, postgres_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers a table and searches it as the README does: with a token that is none, and with no URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table if not exists documents (id bigint primary key, title text, content text)")
        connection.execute(
            "insert into documents values (1, 'Passwords', 'How to reset a password') on conflict do nothing"
        )
        if connection.execute("select from pgembedd_internal.pipeline").rowcount == 0:
            arguments = f"'documents', 'public.documents', array['title', 'content'], model => '{MODEL}'"
            connection.execute(f"select pgembedd.create_pipeline({arguments})")
        connection.execute("call pgembedd.wait_for_pipeline('documents')")
    asked = {"pipeline": "documents", "query": "how do I reset my password", "k": 5}
    found = httpx.post(
        f"http://127.0.0.1:{port}/api/v1/search",
        json=asked,
        headers={"Authorization": "Bearer -"},
        timeout=60,
        verify=PLAIN,
    )
    assert [hit["record"]["title"] for hit in found.json()["hits"]] == ["Passwords"], found.text
    monkeypatch.setenv("PGEMBEDD_POSTGRES_DIR", str(postgres_dir))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with Database() as database:
        assert [hit.record["title"] for hit in database.search("documents", "how do I reset my password")] == [
            "Passwords"
        ]
