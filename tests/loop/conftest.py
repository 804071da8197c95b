"""The fixtures of the tests of the worker's loop."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import structlog
from structlog.typing import EventDict

from tests.loop.heartbeat import heartbeat
from tests.support.databases import Database

# Fixtures that live beside what they are made of.
__all__ = ["heartbeat"]


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    """The user's own connection to the test's database, autocommit."""
    with database.connect() as opened:
        yield opened


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    """The log of the workers of this process, as events with fields."""
    with structlog.testing.capture_logs() as events:
        yield events
