"""A role that is no superuser, with pg_cron and pg_net absent, available and created, on every version of PostgreSQL.

Both extensions are stand-ins (tests/migration/extension_standins.py), but for one test with pg_cron itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.schema_check import check_schema
from pgembedd.doctor import Finding, examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.migration.dump import COMMITTED, dump_frozen
from tests.migration.extension_standins import PRELOADED, add_standins
from tests.support import sql
from tests.support.command import pgembedd
from tests.support.databases import Database, administrator, fresh_database
from tests.support.documents import await_quiet, make_documents
from tests.support.embedders import only
from tests.support.pg_cron import cron_offering_server
from tests.support.postgres_versions import VERSIONS_PARAMS, binaries, running_version
from tests.support.roles import connect_as, conninfo_as, temporary_roles
from tests.support.sql import learn_vector
from tests.support.worker import worker_thread

CREATED = "create extension pg_cron; create extension pg_net; revoke usage on schema net from public;"
# What the administrator does before; `{role}` is the installer.
STATES = {
    "absent": "",
    "available": "",
    "created": CREATED,
    "created and granted": CREATED + "grant usage on schema cron, net to {role}",
}
COMMANDS = ("status", "truncated", "retry", "backfill texts", "index texts", "verify texts")
ATTRIBUTES = ["", "createrole"]


@pytest.fixture(scope="module", params=VERSIONS_PARAMS)
def servers(request: pytest.FixtureRequest) -> Iterator[dict[bool, EmbeddedPostgres]]:
    """A server with the extensions (True) and one without."""
    found = binaries(request.param)
    with running_version(found, add_standins, **PRELOADED) as offering, running_version(found) as bare:
        yield {True: offering, False: bare}


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ATTRIBUTES)
def installer(request: pytest.FixtureRequest, servers: dict[bool, EmbeddedPostgres], state: str) -> Iterator[str]:
    server = servers[state != "absent"]
    with temporary_roles(server) as roles:
        yield roles.make("installer", request.param)
    with administrator(server) as admin:
        admin.execute("drop role if exists pgembedd; drop role if exists pgembedd_worker")


@pytest.mark.slow
def test_everything_works(servers: dict[bool, EmbeddedPostgres], state: str, installer: str, model: Session) -> None:
    with fresh_database(servers[state != "absent"]) as database:
        go_through(database, installer, STATES[state], model)


@pytest.mark.slow
def test_the_schema_is_the_committed_one(servers: dict[bool, EmbeddedPostgres]) -> None:
    """On every version, by the superuser."""
    with fresh_database(servers[False]) as database:
        migrate(database.conninfo)
        assert dump_frozen(servers[False], database) == COMMITTED.read_text(encoding="utf-8")
    with administrator(servers[False]) as admin:
        admin.execute("drop role if exists pgembedd; drop role if exists pgembedd_worker")


@pytest.mark.slow
@pytest.mark.parametrize("major", [17, 18])
def test_everything_works_with_pg_cron_itself(major: int, model: Session) -> None:
    created = "create extension if not exists pg_cron;"
    with cron_offering_server(major) as offering, temporary_roles(offering.server) as roles:
        for number, prepared in enumerate(("", created, created + "grant usage on schema cron to {role}")):
            installer = roles.make("installer", "createrole")
            go_through(offering.database, installer, prepared, model)
            with offering.database.connect() as admin:
                admin.execute(f"drop owned by {installer}; drop extension if exists dblink".encode())
                assert number == 0 or sql.value(admin, "select count(*) from cron.job") == 0
                admin.execute("drop role if exists pgembedd; drop role if exists pgembedd_worker")


def go_through(database: Database, installer: str, prepared: str, model: Session) -> None:
    """Everything as that role, in a database that an administrator prepared."""
    with database.connect() as admin:
        admin.execute(f"grant create on database {database.name} to {installer}".encode())
        admin.execute(f"grant create on schema public to {installer}".encode())
        admin.execute("create extension if not exists vector; create extension dblink")
        admin.execute(prepared.format(role=installer).encode())
    assert {finding.about for finding in findings(database, installer) if finding.level == "bad"} == {"pgmq", "schema"}
    conninfo = conninfo_as(database, installer)
    migrate(conninfo)
    use(database, installer)
    with worker_thread(conninfo, only(model), sweep_every_s=0.1), connect_as(database, installer) as connection:
        connection.execute("insert into texts values (1, 'text')")
        await_quiet(connection)
    migrate(conninfo)
    assert [finding for finding in findings(database, installer) if finding.level == "bad"] == []
    for command in COMMANDS:
        outcome = pgembedd(*command.split(), database=conninfo)
        assert outcome.code == 0, (command, outcome)
    downgrade(conninfo)


def findings(database: Database, role: str) -> list[Finding]:
    with connect_as(database, role) as connection:
        return list(examine(connection, Path("/")))


def use(database: Database, installer: str) -> None:
    """What SQL there is for an owner, a worker and an operator."""
    warnings: list[str | None] = []  # what the upkeep leaves out is a warning
    with connect_as(database, installer) as connection:
        connection.add_notice_handler(lambda told: warnings.append(told.message_primary))
        connection.execute("set client_min_messages = warning")
        check_schema(connection)
        learn_vector(connection)
        make_documents(connection, name="texts")
        sql.make_documents(connection, 2)
        sql.create_pipeline(connection, index_type="hnsw", on_update="clear", index_when="later")
        sql.create_pipeline(connection, pipeline="chunks", embedding_table="chunks", index_type="hnsw")
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x' where name <> 'texts'")
        connection.execute("insert into documents values (3, 'x')")
        assert set(sql.work(connection).values()) == {"written"}
        connection.execute("select pgembedd.tick(0, 0)")
        connection.execute(
            "update pgembedd_internal.installation set indexes_at = '-infinity', retained_at = '-infinity'"
        )
        connection.execute("select pgembedd.tick(0, 0), pgembedd.sweep(), pgembedd.retention()")
        for source in ("status", "dead_letters", "truncated", "metrics()", "models()", "history()"):
            sql.rows(connection, f"select * from {sql.qualified(source)}")
        sql.rows(connection, "select pgembedd.index_statements('documents')")
        # What the upkeep and a worker's thread call, whose errors are lines of a log.
        connection.execute("select pgembedd_internal._maintain_indexes(), pgembedd_internal._has_builder('documents')")
        said = [sql.call(connection, "set_push", url="http://localhost", token="token") for _ in range(2)]
        assert said[0] == said[1]
        connection.execute("select pgembedd.set_push(null)")
        for kind in ("worker", "operator", "search", "ask", "embed"):  # a role of Postgres's, which is on every server
            connection.execute(f"select pgembedd.grant_{kind}('pg_monitor')".encode())
            connection.execute(f"select pgembedd.revoke_{kind}('pg_monitor')".encode())
        rights = "select has_schema_privilege('pg_monitor', 'pgembedd', 'usage')"
        assert sql.value(connection, rights) is False
        sql.call(connection, "pause", pipeline="documents")
        sql.call(connection, "resume", pipeline="documents")
        sql.call(connection, "drop_pipeline", pipeline="documents")
        sql.call(connection, "drop_pipeline", pipeline="chunks")
    assert warnings == []
