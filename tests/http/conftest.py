"""Roles for the tests of rights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.roles import Roles, temporary_roles
from worker.postgres import EmbeddedPostgres


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles
