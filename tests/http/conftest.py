"""What tests of the endpoints work with that touch a database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import structlog
from structlog.typing import EventDict

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.roles import Roles, temporary_roles
from tests.support.servers.huggingface import huggingface
from tests.support.servers.llama import llama
from tests.support.servers.ollama import ollama

__all__ = ["huggingface", "llama", "ollama"]


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The user's own connection to the test's database, autocommit."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    """What the service has logged, as events with fields."""
    with structlog.testing.capture_logs() as events:
        yield events
