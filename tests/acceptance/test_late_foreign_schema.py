"""A schema `pgembedd` that another role makes after a look found none, or in the place of one that went."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing

import psycopg
import pytest

from pgembedd import AsyncDatabase, SearchError
from pgembedd import Database as Searches
from pgembedd.database import owners
from pgembedd.database.connect import connect
from pgembedd.database.connection import Connection
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.schema_check import check_schema
from pgembedd.database.sessions import Sessions
from pgembedd.errors import SchemaError
from pgembedd.http.connection_pool import DatabasePool as Pool
from pgembedd.http.errors.refusals import Refusal
from tests.acceptance.test_foreign_schema import PLANT, assert_not_run
from tests.support.databases import Database
from tests.support.planted import caught, plant
from tests.support.roles import Roles, connect_as, conninfo_as

NONE = "This database has no pgembedd schema: run `pgembedd migrate`."


@pytest.fixture
def planter(roles: Roles, empty_database: Database) -> str:
    """A role that may create schemas in the database."""
    planter = roles.make("planter")
    with empty_database.connect() as admin:
        admin.execute(f"grant create on database {empty_database.name} to {planter}")
    return planter


def plant_schema(database: Database, planter: str) -> None:
    with connect_as(database, planter) as theirs:
        theirs.execute(PLANT.encode())


def test_a_schema_that_comes_after_the_look_is_not_run(
    planter: str, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that makes and drops one all the time meets that moment."""
    look = owners.check_owners

    def look_and_plant(connection: psycopg.Connection) -> None:
        try:
            look(connection)
        finally:
            plant_schema(empty_database, planter)

    monkeypatch.setattr("pgembedd.database.schema_check.check_owners", look_and_plant)
    with connect(empty_database.conninfo) as connection, pytest.raises(SchemaError, match=NONE):
        check_schema(connection)
    assert_not_run(empty_database)


@pytest.mark.parametrize("before", ["none", "ours"])
def test_a_program_that_stays_connected_does_not_run_it(planter: str, empty_database: Database, before: str) -> None:
    """Of what it found missing it asks again whose it is."""
    url = empty_database.conninfo
    if before == "ours":
        migrate(url)

    async def walk() -> None:
        async with AsyncDatabase(url) as waits:
            with Searches(url) as searches, closing(Pool(url)) as pool:
                for told in (NONE, f"belongs to the role {planter}"):
                    if before == "ours" and told == NONE:
                        assert searches.pipelines() == [] == await waits.pipelines()
                        with pool.connection() as connection:
                            connection.execute("select * from pgembedd.search_pipelines()")
                        downgrade(url)
                    with pytest.raises(SearchError, match=told):
                        searches.pipelines()
                    with pytest.raises(SearchError, match=told):
                        await waits.pipelines()
                    trusted = before == "ours" and told == NONE  # the pool has found the schema to be ours before
                    refusal = (
                        pytest.raises(psycopg.errors.InvalidSchemaName)
                        if trusted
                        else pytest.raises(Refusal, match=told)
                    )
                    with refusal, pool.connection() as connection:
                        connection.execute("select * from pgembedd.search_pipelines()")
                    if told == NONE:
                        plant_schema(empty_database, planter)

    asyncio.run(walk())
    assert_not_run(empty_database)


@pytest.mark.slow
def test_a_worker_behind_a_pooler_looks_with_its_own_path(roles: Roles, empty_database: Database) -> None:
    """After an error it looks whether the schema is another, in a session where no path is set."""
    migrate(empty_database.conninfo)
    plant(empty_database, roles.make("planter"))
    role = roles.make("worker")
    with empty_database.connect() as admin:
        admin.execute("set search_path = pg_catalog")
        admin.execute("select pgembedd.grant_worker(%s::regrole)", [role])
    made = Connection(Sessions(conninfo_as(empty_database, role), "test", pooled=True), threading.Event())
    with closing(made) as worker:
        worker.rows("models")
        with pytest.raises(psycopg.errors.DivisionByZero):
            worker.call(lambda connection: connection.execute("select 1 operator(pg_catalog./) 0"))
    assert not caught(empty_database)


def test_a_schema_of_an_extension_that_comes_after_the_look_is_refused(
    planter: str, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = owners.check_extension_owners

    def look_and_plant(connection: psycopg.Connection) -> None:
        look(connection)
        with connect_as(empty_database, planter) as theirs:
            theirs.execute("create schema pgmq")

    monkeypatch.setattr("pgembedd.database.migrate.check_extension_owners", look_and_plant)
    with pytest.raises(SchemaError, match=f"The schema pgmq belongs to the role {planter}"):
        migrate(empty_database.conninfo)
