"""pgai's real catalogue, out of its own wheel; it is not installed, only its SQL is run.

Its worker, which needs an embedding service, is not here: tests write what it would have written, with a real model.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgembedd.database.queries import query
from tests.support.downloads import cache_directory, run_or_skip
from tests.support.sql import value

VERSION = "0.12.1"
SHA256 = "16f38e891d251472c69cc34aea5177d5c0f5309ddf1a6f79699eb3ec6310a2ee"
WHEEL = f"pgai-{VERSION}-py3-none-any.whl"


def install_pgai(connection: psycopg.Connection) -> None:
    """Installs pgai as `pgai install` does: its schema `ai`, in a database that has vector. May skip the test."""
    with zipfile.ZipFile(_wheel()) as wheel:
        text = wheel.read("pgai/data/ai.sql").decode()
    text = text.replace("@extschema:vector@", value(connection, query("vector_schema")))
    connection.execute("create schema if not exists ai")
    with connection.transaction():
        connection.execute(text.replace("__version__", VERSION).encode())


def create_vectorizer(connection: psycopg.Connection, source: str, column: str, **parts: str) -> int:
    """ai.create_vectorizer(); `parts` are arguments in SQL. The model is all-minilm of Ollama unless told otherwise."""
    defaults = {
        "loading": f"ai.loading_column('{column}')",
        "embedding": "ai.embedding_ollama('all-minilm', 384)",
    }
    arguments = ", ".join(f"{name} => {text}" for name, text in (defaults | parts).items())
    return int(value(connection, f"select ai.create_vectorizer(%s::regclass, {arguments})", source))


def configuration(connection: psycopg.Connection, vectorizer: int, part: str, changed: Any) -> None:
    """Put something else in a part of the configuration, as another version would have written it."""
    connection.execute(
        "update ai.vectorizer set config = jsonb_set(config, array[%s], %s) where id = %s",
        (part, Jsonb(changed), vectorizer),
    )


def _wheel() -> Path:
    """The wheel from the cache, else from the package index, checked against its digest each time."""
    cached = cache_directory("pgai") / WHEEL
    if not cached.exists():
        with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            run_or_skip(f"pgai {VERSION}", [*download, f"pgai=={VERSION}"], Path(scratch))
            Path(scratch, WHEEL).rename(cached)
    digest = hashlib.sha256(cached.read_bytes()).hexdigest()
    assert digest == SHA256, f"{cached} is not the wheel that was expected: delete it"
    return cached
