"""Roles for tests of searches."""

from collections.abc import Iterator

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.roles import Roles, temporary_roles


@pytest.fixture
def roles(server: EmbeddedPostgres) -> Iterator[Roles]:
    """Makes roles; ask for it before a database, so that they are dropped after it."""
    with temporary_roles(server) as roles:
        yield roles
