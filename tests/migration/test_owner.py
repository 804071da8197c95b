"""Migrations as a database owner who is no superuser: what works, and what an administrator must grant first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pgmq.install import get_embedded_install_sql

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.schema_check import check_schema
from pgembedd.doctor import examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ConfigurationError
from tests.migration.catalog import catalog, differences
from tests.migration.older_version import age
from tests.support.databases import Database, fresh_database
from tests.support.pgmq_extension import PgmqServer, pgmq_database, pgmq_server
from tests.support.postgres_versions import server_of_version
from tests.support.refusals import sentence
from tests.support.roles import Roles, connect_as, conninfo_as, temporary_roles
from tests.support.sql import call, column, create_pipeline, learn_vector, make_documents, value, work

__all__ = ["pgmq_database", "pgmq_server"]


@pytest.fixture(scope="module")
def untouched_server() -> Iterator[EmbeddedPostgres]:
    """A server where no superuser ever migrated, so that the worker's role does not exist."""
    with server_of_version() as server:
        yield server


@pytest.fixture
def own_roles(untouched_server: EmbeddedPostgres) -> Iterator[Roles]:
    """Roles of that server."""
    with temporary_roles(untouched_server) as roles:
        yield roles


@pytest.fixture
def bare(untouched_server: EmbeddedPostgres) -> Iterator[Database]:
    """An empty database of that server."""
    with fresh_database(untouched_server) as database:
        yield database


def give(database: Database, owner: str, *statements: str) -> str:
    """Make `owner` the database's owner, after what an administrator does; the owner's connection string."""
    with database.connect() as admin:
        admin.execute(f"alter database {database.name} owner to {owner}")
        for statement in statements:
            admin.execute(statement.encode())
    return conninfo_as(database, owner)


def use(database: Database, owner: str) -> None:
    """A pipeline from beginning to end, as the owner."""
    with connect_as(database, owner) as connection:
        check_schema(connection)
        learn_vector(connection)
        make_documents(connection, 2)
        assert create_pipeline(connection, index_type="hnsw", on_update="clear") == 2
        connection.execute("insert into documents values (3, 'x')")
        assert work(connection) == dict.fromkeys((1, 2, 3), "written")
        connection.execute("select pgembedd.tick(0, 0)")
        call(connection, "pause", pipeline="documents")
        call(connection, "resume", pipeline="documents")


def test_without_vector_the_sentence_says_who_installs_it(own_roles: Roles, bare: Database) -> None:
    conninfo = give(bare, own_roles.make("owner"))
    with sentence(ConfigurationError, "An administrator must run `CREATE EXTENSION vector` in this database first."):
        migrate(conninfo)
    with bare.connect() as connection:
        assert value(connection, "select to_regnamespace('pgembedd')") is None


@pytest.mark.slow
def test_with_vector_everything_works(own_roles: Roles, bare: Database) -> None:
    owner = own_roles.make("owner", "createrole")
    migrate(give(bare, owner, "create extension vector"))
    use(bare, owner)
    with bare.connect() as connection:
        assert value(connection, "select count(*) from pg_roles where rolname = 'pgembedd_worker'") == 1
        assert owners_of_functions(connection) == {"pgembedd"}
        migrate(conninfo_as(bare, owner))
        downgrade(conninfo_as(bare, owner))
        assert value(connection, "select count(embedding) from documents") == 3
        connection.execute("drop role pgembedd_worker; drop role pgembedd")


@pytest.mark.slow
def test_an_older_version_keeps_its_owner_whichever_role_upgrades_it(own_roles: Roles, bare: Database) -> None:
    owner, other = own_roles.make("owner", "createrole"), own_roles.make("other")
    conninfo = give(bare, owner, "create extension vector")
    migrate(conninfo)
    use(bare, owner)
    with bare.connect() as connection:
        fresh = catalog(connection)
        age(connection, "another parameter")
        migrate(bare.conninfo)
        assert differences(fresh, catalog(connection)) == {}
        age(connection, "another parameter")
        connection.execute(
            f"grant usage on schema pgembedd, pgembedd_internal to {other}; create schema theirs authorization {other}"
        )
        connection.execute(f"grant execute on all functions in schema pgembedd, pgembedd_internal to {other}")
        with connect_as(bare, other) as theirs:
            theirs.execute("create view theirs.wait as select pgembedd_internal._backoff(1)")
        said = (
            "view theirs.wait stands on pgembedd_internal._backoff(integer,interval,interval,double precision,text) "
            "(permission denied for schema"
        )
        with sentence(ConfigurationError, said):
            migrate(conninfo)
        connection.execute(f"drop owned by {other}")
        migrate(conninfo)
        assert differences(fresh, catalog(connection)) == {}
        downgrade(conninfo)
        connection.execute("drop role pgembedd_worker; drop role pgembedd")


@pytest.mark.slow
def test_without_createrole_an_administrator_can_make_the_role(own_roles: Roles, bare: Database) -> None:
    owner = own_roles.make("owner")
    conninfo = give(bare, owner, "create extension vector")
    migrate(conninfo)
    with bare.connect() as connection, connect_as(bare, owner) as theirs:
        assert owners_of_functions(connection) == {owner}
        (finding,) = [finding for finding in examine(theirs, Path("/")) if finding.text.startswith("our functions run")]
        assert finding.level == "note"
        administrators, _, then = finding.remedy.removeprefix("As an administrator: ").partition(" Then ")
        assert then == "pgembedd migrate"
        connection.execute(administrators.encode())
        migrate(conninfo)
        assert owners_of_functions(connection) == {"pgembedd"}
        assert "our functions run" not in str(list(examine(theirs, Path("/"))))
    use(bare, owner)
    with bare.connect() as connection:
        downgrade(conninfo)
        connection.execute("drop role pgembedd")


@pytest.mark.slow
def test_a_role_of_another_database_is_not_offered(
    own_roles: Roles, bare: Database, untouched_server: EmbeddedPostgres
) -> None:
    """As a member of it, the owner here could alter its functions there."""
    first, second = own_roles.make("first", "createrole"), own_roles.make("second")
    migrate(give(bare, first, "create extension vector"))
    with fresh_database(untouched_server) as other:
        migrate(give(other, second, "create extension vector"))
        for asked in (connect_as(other, second), other.connect()):
            with asked as theirs:
                (finding,) = [each for each in examine(theirs, Path("/")) if each.text.startswith("our functions run")]
                assert "grant" not in finding.remedy
                assert "the owner of the other database that uses the role pgembedd" in finding.remedy
        downgrade(conninfo_as(other, second))
    downgrade(conninfo_as(bare, first))
    with bare.connect() as connection:
        connection.execute("drop role pgembedd_worker; drop role pgembedd")


def owners_of_functions(connection: psycopg.Connection) -> set[str]:
    """The owners of what workers call."""
    return set(
        column(
            connection,
            """select proowner::regrole::text from pg_proc
                where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
               and proname in ('claim', 'read', 'store', 'tick', 'metrics')""",
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "mend", "told"),
    [
        ("alter role pgembedd login", "ALTER ROLE pgembedd NOLOGIN", "it may log in"),
        (
            "alter role pgembedd createdb",
            "ALTER ROLE pgembedd NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
            "it has attributes",
        ),
        ("grant pg_monitor to pgembedd", "REVOKE pg_monitor FROM pgembedd", "it is a member of pg_monitor"),
        ("grant pgembedd to {other}", "REVOKE pgembedd FROM {other} GRANTED BY postgres", "it has the member {other}"),
    ],
)
def test_a_role_of_that_name_that_has_more_is_refused(
    own_roles: Roles, bare: Database, spoil: str, mend: str, told: str
) -> None:
    other = own_roles.make("other")
    with bare.connect() as admin:
        admin.execute("create role pgembedd")
        admin.execute(spoil.format(other=other).encode())
        with sentence(
            ConfigurationError,
            f"The migration stopped: There is a role pgembedd already, and {told.format(other=other)}. "
            f"As an administrator: {mend.format(other=other)}; "
            "Or rename it, where it is another program's: ALTER ROLE pgembedd RENAME TO ...;",
        ):
            migrate(bare.conninfo)
        admin.execute(mend.format(other=other).encode())
        migrate(bare.conninfo)
        assert owners_of_functions(admin) == {"pgembedd"}
        downgrade(bare.conninfo)
        admin.execute("drop role pgembedd; drop role pgembedd_worker")


@pytest.mark.slow
def test_a_second_database_keeps_the_role_of_the_first(
    own_roles: Roles, bare: Database, untouched_server: EmbeddedPostgres
) -> None:
    """No remedy takes from the first installation what it needs."""
    other, first = own_roles.make("other"), own_roles.make("first", "createrole")
    with fresh_database(untouched_server) as second, bare.connect() as admin:
        migrate(give(bare, first, "create extension vector"))
        with pytest.raises(ConfigurationError) as caught:
            migrate(second.conninfo)
        assert str(caught.value).endswith(
            f"it has the member {first}. As an administrator: let {first}, who installed pgembedd in another database, "
            "install here, too. Do not drop or rename it: another database of this server uses it."
        )
        migrate(give(second, first, "create extension vector"))
        admin.execute(f"grant pgembedd to {other}".encode())
        with fresh_database(untouched_server) as third, pytest.raises(ConfigurationError) as caught:
            migrate(give(third, first, "create extension vector"))
        told = f"As an administrator: REVOKE pgembedd FROM {other} GRANTED BY postgres; Do not drop or rename it"
        assert told in str(caught.value)
        admin.execute(f"revoke pgembedd from {other} granted by postgres".encode())
        migrate(conninfo_as(bare, first))
        use(bare, first)
        for used in (bare, second):
            downgrade(conninfo_as(used, first))
        admin.execute("drop role pgembedd_worker; drop role pgembedd")


@pytest.mark.slow
def test_without_createrole_another_role_can_be_granted(own_roles: Roles, bare: Database) -> None:
    owner, worker = own_roles.make("owner"), own_roles.make("worker")
    migrate(give(bare, owner, "create extension vector"))
    use(bare, owner)
    with connect_as(bare, owner) as connection:
        assert value(connection, "select count(*) from pg_roles where rolname = 'pgembedd_worker'") == 0
        connection.execute("select pgembedd.grant_worker(%s)", [worker])
        connection.execute("insert into documents values (4, 'x')")
    with connect_as(bare, worker) as connection:
        check_schema(connection)
        learn_vector(connection)
        assert work(connection) == {4: "written"}


def test_without_create_on_the_database(own_roles: Roles, bare: Database) -> None:
    stranger = own_roles.make("stranger")
    with bare.connect() as admin:
        admin.execute("create extension vector")
    with sentence(ConfigurationError, f"The migration stopped: permission denied for database {bare.name}."):
        migrate(conninfo_as(bare, stranger))


def administrators_part(error: ConfigurationError) -> str:
    """The statements that the sentence asks for."""
    quoted = re.search(r"`(.*)`|Have an administrator run: (.*)$", str(error))
    assert quoted is not None
    return quoted[1] or quoted[2]


@pytest.mark.slow
def test_with_a_pgmq_of_the_administrators(own_roles: Roles, bare: Database) -> None:
    owner = own_roles.make("owner")
    conninfo = give(bare, owner, "create extension vector", get_embedded_install_sql())
    with pytest.raises(ConfigurationError, match="pgmq belongs to another role") as caught:
        migrate(conninfo)
    give(bare, owner, administrators_part(caught.value))
    migrate(conninfo)
    use(bare, owner)
    downgrade(conninfo)


@pytest.mark.slow
def test_with_a_pgmq_extension_of_the_administrators(pgmq_server: PgmqServer) -> None:
    """Each refusal says what to run; with all of that run, everything works."""
    with temporary_roles(pgmq_server.server) as roles, fresh_database(pgmq_server.server) as database:
        owner = roles.make("owner")
        conninfo = give(database, owner, "create extension vector", "create extension pgmq")
        asked: list[str] = []
        for _ in range(5):
            try:
                migrate(conninfo)
                break
            except ConfigurationError as error:
                asked.append(administrators_part(error))
                give(database, owner, asked[-1])
        assert len(asked) == 1, asked
        use(database, owner)
