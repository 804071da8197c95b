"""A worker needs membership of pgembedd_worker and nothing else, wherever the extension lives."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.support.databases import Database, fresh_database
from tests.support.documents import await_quiet, insert, make_documents, missing, stale
from tests.support.embedders import Wrapped, only
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import value
from tests.support.worker import worker_thread


@pytest.fixture
def apart(server: EmbeddedPostgres, roles: Roles) -> Iterator[Database]:
    """A migrated database whose vector extension lives in a schema outside of every search_path."""
    with fresh_database(server) as database:
        with database.connect() as connection:
            connection.execute("create schema extensions; create extension vector schema extensions")
        migrate(database.conninfo)
        yield database


@pytest.mark.slow
def test_a_whole_run_with_least_privilege(apart: Database, roles: Roles, model: Session) -> None:
    worker = roles.make("worker", "in role pgembedd_worker")
    with apart.connect() as connection:
        make_documents(connection)
        connection.execute("alter table documents enable row level security")
        insert(connection, range(1, 20))
        connection.execute("update documents set body = ' ' where id = 5")
        connection.execute("delete from documents where id = 6")
        connection.execute("alter table documents add constraint no_seven check (id <> 7 or embedding is null)")
        connection.execute("update pgembedd_internal.pipeline set max_attempts = 1")
        with connect_as(apart, worker) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("select from documents")
        connection.execute(
            "update pgembedd_internal.installation set swept_at = '-infinity', retained_at = '-infinity'"
        )
        with worker_thread(conninfo_as(apart, worker), only(Wrapped(model)), lease_s=1):
            await_quiet(connection)
        assert missing(connection) == [5, 7]
        assert value(connection, "select swept_at > '-infinity' from pgembedd_internal.installation")
        assert value(connection, "select reason from pgembedd.dead_letters where key = '7'") == "write"
        connection.execute("update documents set body = 'mended' where id = 5")
        connection.execute("delete from documents where id = 7")
        with worker_thread(conninfo_as(apart, worker), only(Wrapped(model)), wait="poll", poll_max_s=1.0):
            await_quiet(connection)
        assert stale(connection, model) == []


def test_a_role_of_the_users_own(database: Database, roles: Roles, model: Session) -> None:
    """A role of the user's, for servers on which pgembedd_worker could not be created."""
    worker = roles.make("robot")
    with database.connect() as connection:
        make_documents(connection)
        connection.execute(f"select pgembedd.grant_worker('{worker}')")
        insert(connection, [1, 2])
        with worker_thread(conninfo_as(database, worker), only(Wrapped(model))):
            await_quiet(connection)
        assert stale(connection, model) == []
        connection.execute(f"drop owned by {worker}")
