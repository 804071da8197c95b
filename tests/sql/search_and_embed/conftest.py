"""The worker that answers embed()."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.embed_requests import Hand


@pytest.fixture
def hand(other: psycopg.Connection) -> Hand:
    """The only worker there is."""
    return Hand(other)


@pytest.fixture(params=[False, True], ids=["pooled", "keeps its session"])
def either(other: psycopg.Connection, request: pytest.FixtureRequest) -> Hand:
    """The only worker there is, on which the caller waits by polling, and then by a lock."""
    return Hand(other, keeps_session=request.param)
