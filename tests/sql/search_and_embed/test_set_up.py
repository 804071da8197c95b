"""embed() where the owner of pgembedd is no superuser, as on a managed server; and what the doctor says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.doctor import Finding, examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.presence import beat
from tests.support.refusals import refused
from tests.support.roles import PASSWORD, Roles, conninfo_as
from tests.support.sql import create_pipeline, learn_vector, make_documents, value
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.fixture
def bare(roles: Roles, server: EmbeddedPostgres) -> Iterator[Database]:
    """An empty database; its owner's roles are dropped after it."""
    with fresh_database(server) as database:
        yield database


def owned(bare: Database, owner: str, extensions: str = "create extension vector; create extension dblink") -> str:
    """The connection string of the owner of a migrated database with a pipeline."""
    with bare.connect() as admin:
        admin.execute(f"alter database {bare.name} owner to {owner}".encode())
        admin.execute(extensions.encode())
    conninfo = conninfo_as(bare, owner)
    migrate(conninfo)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        learn_vector(connection)
        make_documents(connection)
        create_pipeline(connection)
    return conninfo


def verdict(connection: psycopg.Connection) -> Finding:
    """Returns the doctor's finding on embed()."""
    (one,) = [finding for finding in examine(connection, Path.cwd()) if finding.about == "embed()"]
    return one


def no_answer(connection: psycopg.Connection) -> None:
    """The question is posted and no worker takes it: all earlier steps succeeded."""
    with refused("No vector came within 00:00:00.05, though a worker is connected."):
        connection.execute("select pgembedd.embed('x', timeout => '50 ms')")


@pytest.mark.slow
def test_an_owner_who_may_create_roles_has_it_at_once(roles: Roles, bare: Database) -> None:
    owner = roles.make("owner", "createrole")
    conninfo = owned(bare, owner)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        database = value(connection, "select oid from pg_database where datname = current_database()")
        assert verdict(connection) == Finding("note", "embed()", "set up, but no worker would answer", "pgembedd run")
        beat(connection, ("embed",))
        no_answer(connection)
        assert verdict(connection) == Finding("ok", "embed()", "set up, 1 worker answers")
    downgrade(conninfo)
    with bare.connect() as admin:
        assert value(admin, "select count(*) from pg_roles where rolname like 'pgembedd_embed_%%' || %s", database) == 0


@pytest.mark.slow
def test_an_owner_who_may_not_names_a_role(roles: Roles, bare: Database) -> None:
    owner, asker = roles.make("owner"), roles.make("asker")
    with psycopg.connect(owned(bare, owner), autocommit=True) as connection:
        found = verdict(connection)
        assert found.level == "note"
        assert "select pgembedd.embed_through(username => 'asker', password => '...');" in found.remedy
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select pgembedd.embed_through()")
        connection.execute("select pgembedd.embed_through(username => %s, password => %s)", [asker, PASSWORD])
        beat(connection, ("embed",))
        no_answer(connection)
        connection.execute("select pgembedd.embed_through(username => %s, password => 'wrong')", [asker])
        assert verdict(connection).level == "bad"
        connection.execute("select pgembedd.embed_through(username => %s)", [asker])
        assert "password" in verdict(connection).text  # dblink never lets others in as the server's own user


def test_without_dblink_the_rest_works_and_the_remedy_is_named(roles: Roles, bare: Database) -> None:
    owner = roles.make("owner")
    with psycopg.connect(owned(bare, owner, "create extension vector"), autocommit=True) as connection:
        assert "As an administrator: create extension dblink;" in verdict(connection).remedy
