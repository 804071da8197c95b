"""A server with the real pg_cron, out of Debian's package (extension_package.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.extension_package import offering_server, offering_version
from tests.support.postgres_versions import EMBEDDED

SETTINGS = {
    "shared_preload_libraries": "pg_cron",
    "cron.database_name": "postgres",
    # Jobs run in workers inside the server, so that none needs a password.
    "cron.use_background_workers": "on",
    "max_worker_processes": "20",
}


@dataclass(frozen=True)
class CronServer:
    """A server whose pg_cron works in `database`, the only one it can work in (`postgres`)."""

    server: EmbeddedPostgres
    database: Database


@contextmanager
def cron_offering_server(major: int = EMBEDDED) -> Iterator[CronServer]:
    """A server of its own with pg_cron loaded; the extension is not created yet. May skip the test."""
    package = f"postgresql-{major}-cron"
    offering = (
        offering_server("pg_cron", package, **SETTINGS)
        if major == EMBEDDED
        else offering_version("pg_cron", package, major, **SETTINGS)
    )
    with offering as server:
        yield CronServer(server, Database("postgres", server.conninfo("postgres")))


@pytest.fixture(scope="session")
def cron_server() -> Iterator[CronServer]:
    """The session's server with pg_cron. Its database is shared: a test removes the jobs it scheduled."""
    with cron_offering_server() as offering:
        yield offering
