"""Roles and extensions as the services of docs/how-to/managed-services.md set them up, on the versions that they have.

A service's own extensions and networks are not here: only what Postgres does with such roles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.doctor import examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.support.databases import Database, administrator, fresh_database
from tests.support.documents import await_embedded, insert, make_documents
from tests.support.embedders import only
from tests.support.pgmq_extension import OLD, OLDEST, write_extension
from tests.support.postgres_versions import EMBEDDED, binaries, running_version
from tests.support.roles import Roles, connect_as, conninfo_as, temporary_roles
from tests.support.sql import column, value
from tests.support.worker import worker_thread


@dataclass(frozen=True)
class Service:
    """The role that a customer has: its attributes, and what the group that it is a member of is a member of."""

    major: int
    attributes: str
    member_of: str = ""
    pgmq: str | None = None  # the version that the customer can create, and then owns


SERVICES = {
    "Supabase, PostgreSQL 15": Service(15, "createdb createrole replication bypassrls", pgmq=OLDEST),
    "Supabase, PostgreSQL 17": Service(17, "createdb createrole replication bypassrls", pgmq=OLD),
    "Neon": Service(17, "createdb createrole replication bypassrls", "pg_read_all_data, pg_write_all_data"),
    "RDS, Aurora": Service(16, "createdb createrole", "pg_monitor, pg_signal_backend"),
    "Cloud SQL": Service(16, "createdb createrole"),
    "Azure": Service(EMBEDDED, "createdb createrole", "pg_read_all_data, pg_monitor"),
}


@contextmanager
def customer(server: EmbeddedPostgres, service: Service) -> Iterator[tuple[Database, Roles, str]]:
    """A database that a customer owns, where the service made the extensions that only a superuser can."""
    with temporary_roles(server) as roles:
        group, master = roles.make("group"), roles.make("master", service.attributes)
        with fresh_database(server) as database, database.connect() as admin:
            admin.execute("create extension vector; create extension dblink")
            if service.member_of:
                admin.execute(f"grant {service.member_of} to {group}".encode())
            admin.execute(f"grant {group} to {master}; alter database {database.name} owner to {master}".encode())
            yield database, roles, master
        with administrator(server) as admin:
            for role in ("pgembedd", "pgembedd_worker"):
                admin.execute(f"drop role if exists {role}".encode())


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_customers_role_does_everything(service: Service, model: Session) -> None:
    """It migrates, has a pipeline, gives a worker a login, asks by embed(), and uninstalls."""

    def offer(root: Path) -> None:
        if service.pgmq is not None:
            write_extension(root / "share", service.pgmq)

    with (
        running_version(binaries(service.major), offer) as server,
        customer(server, service) as (database, roles, master),
    ):
        conninfo = conninfo_as(database, master)
        if service.pgmq is not None:
            with connect_as(database, master) as connection:
                connection.execute("create extension pgmq")
        migrate(conninfo)
        with connect_as(database, master) as connection:
            assert problems(connection) == []
            make_documents(connection)
            worker = roles.make("worker")
            connection.execute("select pgembedd.grant_worker(%s)", [worker])
            with worker_thread(conninfo_as(database, worker), only(model)):
                insert(connection, [1, 2])
                await_embedded(connection, [1, 2])
                assert value(connection, "select pgembedd.embed('text')") is not None
            installed = column(connection, "select extversion from pg_extension where extname = 'pgmq'")
        assert installed == [each for each in [service.pgmq] if each]
        migrate(conninfo)
        downgrade(conninfo)
        with database.connect() as admin:
            admin.execute(f"drop owned by {master}".encode())


def problems(connection: psycopg.Connection) -> list[str]:
    """The findings of the doctor that are bad."""
    return [f"{each.about}: {each.text}" for each in examine(connection, Path("/")) if each.level == "bad"]
