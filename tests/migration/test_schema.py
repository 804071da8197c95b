"""The schema's truth: fresh equals upgraded equals committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgembedd.database import migrate as module
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.own_version import sql_files
from pgembedd.database.schema_check import check_schema
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ConfigurationError, SchemaError
from tests.migration.dump import COMMITTED, dump_frozen, dump_schema
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]


def test_the_committed_dump_is_the_schema(server: EmbeddedPostgres, database: Database) -> None:
    remedy = "the schema changed: look at it, then run `python -m tests.migration.dump`"
    assert dump_frozen(server, database) == COMMITTED.read_text(encoding="utf-8"), remedy


@pytest.mark.slow
def test_applying_it_again_changes_nothing(server: EmbeddedPostgres, empty_database: Database) -> None:
    migrate(empty_database.conninfo)
    with empty_database.connect() as connection:
        connection.execute("create table documents (id int primary key, body text)")
        connection.execute("select pgembedd.create_pipeline('documents', 'documents', array['body'])")
    before = dump_schema(server, empty_database)
    migrate(empty_database.conninfo)
    assert dump_schema(server, empty_database) == before


@pytest.mark.slow
def test_alembic_alone_does_the_same(server: EmbeddedPostgres, empty_database: Database, database: Database) -> None:
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={"DATABASE_URL": empty_database.conninfo, "PATH": ""},
        check=True,
        capture_output=True,
    )
    assert dump_schema(server, empty_database) == dump_schema(server, database)
    with empty_database.connect() as connection:
        check_schema(connection)


def test_every_body_is_valid(connection: psycopg.Connection) -> None:
    """sql/ is loaded without looking at the bodies, because they name functions that come later."""
    connection.execute("set check_function_bodies = on")
    definitions = connection.execute(
        "select pg_get_functiondef(oid) from pg_proc "
        "where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)"
    ).fetchall()
    assert len(definitions) > 200
    for (definition,) in definitions:
        connection.execute(definition.encode())


def test_the_bodies_are_looked_at(connection: psycopg.Connection) -> None:
    definition = "create function pgembedd_internal._odd() returns int language sql as 'select none from nowhere'"
    connection.execute("set check_function_bodies = off")
    connection.execute(definition.encode())
    (again,) = connection.execute("select pg_get_functiondef('pgembedd_internal._odd()'::regprocedure)").fetchone() or (
        "",
    )
    connection.execute("set check_function_bodies = on")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute(again.encode())


def test_another_state_is_refused_with_a_sentence(empty_database: Database) -> None:
    with empty_database.connect() as connection:
        with pytest.raises(SchemaError, match="no pgembedd schema: run `pgembedd migrate`"):
            check_schema(connection)
        migrate(empty_database.conninfo)
        connection.execute("update pgembedd.schema_revision set version_num = '9999'")
        assert check_schema(connection).revision == "9999"
        with pytest.raises(SchemaError, match="newer than this program"):
            migrate(empty_database.conninfo)


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
@pytest.mark.parametrize("there", [False, True], ids=["first", "again"])
def test_two_migrators_at_once_take_turns(empty_database: Database, isolation: str, there: bool) -> None:
    with empty_database.connect() as connection:
        default = f"alter database {empty_database.name} set default_transaction_isolation = '{isolation}'"
        connection.execute(default.encode())
    if there:
        migrate(empty_database.conninfo)
    command = [sys.executable, "-m", "pgembedd", "migrate", "-d", empty_database.conninfo]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    with empty_database.connect() as connection:
        check_schema(connection)


def test_percent_and_colon_survive_the_drivers(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = (
        b"create or replace function pgembedd_internal._odd() returns text language sql "
        b"as $$ select '100 % :name %s %(x)s'::text $$;"
    )
    loaded = [*sql_files()]
    extra = Path(str(empty_database.name) + ".sql")

    class InMemory(type(extra)):  # type: ignore[misc]
        """A file of sql/ that is not on disk."""

        def read_bytes(self) -> bytes:
            return odd

    monkeypatch.setattr(module, "sql_files", lambda: [*loaded, InMemory(loaded[-1].with_name("98_odd.sql"))])
    migrate(empty_database.conninfo)
    with empty_database.connect() as connection:
        assert connection.execute("select pgembedd_internal._odd()").fetchone() == ("100 % :name %s %(x)s",)


def test_a_failed_migration_leaves_nothing(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*sql_files()]

    class Broken(type(broken[0])):  # type: ignore[misc]
        """A file of sql/ with a mistake in it."""

        def read_bytes(self) -> bytes:
            return b"select 1/0;"

    monkeypatch.setattr(module, "sql_files", lambda: [*broken, Broken(broken[-1].with_name("98_broken.sql"))])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database.conninfo)
    with empty_database.connect() as connection:
        assert objects(connection) == {"public"}


def test_offline_scripts_are_refused(empty_database: Database) -> None:
    from alembic import command

    config = module._alembic_config(empty_database.conninfo)
    with pytest.raises(ConfigurationError, match="cannot be printed"):
        command.upgrade(config, "head", sql=True)


def objects(connection: psycopg.Connection) -> set[str]:
    """All schemas and extensions but Postgres's own."""
    rows = connection.execute(
        "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema)' "
        "union select 'extension ' || extname from pg_extension where extname <> 'plpgsql'"
    ).fetchall()
    return {row[0] for row in rows}


@pytest.mark.slow
def test_downgrade_keeps_a_pgmq_that_others_use(empty_database: Database) -> None:
    with empty_database.connect() as connection:
        migrate(empty_database.conninfo)
        connection.execute("select pgmq.create('somebody_elses')")
        downgrade(empty_database.conninfo)
        assert connection.execute("select queue_name from pgmq.meta").fetchall() == [("somebody_elses",)]


@pytest.mark.slow
def test_downgrade_keeps_a_pgmq_that_was_there_before(empty_database: Database) -> None:
    from pgmq.install import get_embedded_install_sql

    with empty_database.connect() as connection:
        connection.execute(get_embedded_install_sql().encode())
        connection.execute("select pgmq.create('pgembedd_fresh')")
        migrate(empty_database.conninfo)
        downgrade(empty_database.conninfo)
        assert connection.execute("select queue_name from pgmq.meta").fetchall() == [("pgembedd_fresh",)]


# What pg_upgrade asks before an upgrade; it looks into domains, arrays, rows and ranges, too.
REFUSED_COLUMNS = """
with recursive refused as (
    select t.oid from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typname in (
        'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc',
        'regprocedure')
    union
    select made.oid from refused join lateral (
        select t.oid from pg_type t where t.typtype = 'd' and t.typbasetype = refused.oid
        union all select t.oid from pg_type t where t.typtype = 'b' and t.typelem = refused.oid
        union all select t.oid from pg_type t join pg_attribute a on a.attrelid = t.typrelid
            where t.typtype = 'c' and not a.attisdropped and a.atttypid = refused.oid
        union all select r.rngtypid from pg_range r where r.rngsubtype = refused.oid) made on true)
select c.oid::regclass::text, a.attname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
where a.atttypid in (select oid from refused) and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'm', 'i')
  and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
"""


def test_pg_upgrade_refuses_no_column(connection: psycopg.Connection) -> None:
    """Neither of our tables nor of those that are made for a pipeline."""
    connection.execute("""
        create table documents (id int primary key, body text, language text default 'english');
        select pgembedd.create_pipeline('column', 'documents', array['body']);
        select pgembedd.create_pipeline('chunks', 'documents', array['body'], embedding_table => 'document_chunks',
                                        text_config => 'language');
        select pgembedd.change_model('column', model => 'all-MiniLM-L6-v2')""")
    assert connection.execute(REFUSED_COLUMNS.encode()).fetchall() == []

    connection.execute("create domain configured as regconfig; alter table documents add config configured[]")
    assert connection.execute(REFUSED_COLUMNS.encode()).fetchall() == [("documents", "config")]
