"""A plain pg_restore into a server that lacks roles: every grant on an object fails there with one of them.

pg_restore sends all grants on an object as one string, so a role that is missing takes the rights of the others with
it. Writers go on before `migrate`, on every version of PostgreSQL.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.doctor import examine
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, administrator, fresh_database
from tests.support.postgres_versions import VERSIONS_PARAMS, server_of_version
from tests.support.roles import PASSWORD, Roles, conninfo_as
from tests.support.sql import column, connected, create_pipeline, made_up, rows, value, work

GRANTS = ("search", "ask", "worker", "operator", "embed")
WITH = tuple(f"with_{kind}" for kind in GRANTS)

# What an administrator grants in addition, on everything there is and will be.
DEFAULTS = """
    alter default privileges for role installer grant select on tables to reporting;
    alter default privileges for role installer grant select on sequences to reporting;
    alter default privileges for role installer grant execute on functions to reporting;
    alter default privileges for role installer grant usage on schemas to reporting;
"""
GRANTED_TO_OTHERS = """
    select o.name, a.grantee::regrole::text, a.privilege_type
    from (select n.nspname::text as name, n.nspacl as acl, n.nspowner as owner from pg_namespace n
          where n.nspname = 'pgembedd_code'
          union all select c.relname, c.relacl, c.relowner from pg_class c
          where c.relnamespace = 'pgembedd_code'::regnamespace
          union all select f.proname, f.proacl, f.proowner from pg_proc f
          where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname ~ '_forget$') o, aclexplode(o.acl) a
    where a.grantee not in (o.owner, 'pgembedd'::regrole)
"""
LATER = """
    grant usage on schema pgembedd, pgembedd_internal, pgmq to reporting;
    grant select on all tables in schema pgembedd, pgembedd_internal to reporting;
    grant select on all tables in schema pgmq to reporting;
"""

TABLES = ("documents", "clearing", "letters", "notes", "parts", "replicated")
CHUNKED = {"letters", "notes", "parts", "replicated"}
OPTIONS: dict[str, dict[str, object]] = {
    "clearing": {"on_update": "clear", "enable_always": True},
    "notes": {"on_update": "clear"},
    "replicated": {"enable_always": True},
}

FIRST = "insert into {table} (id, title) select i, 'text ' || i from generate_series(1, 6) i"

# Every kind of statement, in this order.
STATEMENTS = {
    "insert": "insert into {table} (id, title) values (101, 'written'), (102, 'and another')",
    "upsert": "insert into {table} (id, title) values (101, 'again') on conflict (id) do update set title = 'again'",
    "update": "update {table} set title = title || ' changed' where id = 1",
    "update of many columns and rows": "update {table} set title = title || '!', other = 1 where id in (2, 3, 102)",
    "update of another column": "update {table} set other = 2",
    "change of key": "update {table} set id = id + 200 where id = 4",
    "delete": "delete from {table} where id = 5",
    "over 1,000 rows": "insert into {table} (id, title) select i, 'many ' || i from generate_series(1000, 2000) i",
    "update of over 1,000": "update {table} set title = 'more ' || id where id >= 1000",
    "change of over 1,000 keys": "update {table} set id = id + 2000 where id >= 1000",
    "delete of over 1,000": "delete from {table} where id >= 3010",
    "copy": "copy {table} (id, title) from stdin",
}
AS_REPLICA = ("insert", "upsert", "update", "change of key", "delete")

PRESENT = {
    "no role": (),
    "pgembedd": ("pgembedd",),
    "pgembedd and the owner": ("pgembedd", "owner"),
    "pgembedd and the installer": ("pgembedd", "installer superuser"),
    "all but the one of embed()": ("pgembedd", "pgembedd_worker", "owner", "installer superuser", "reporting", *WITH),
}

# In the schema pgembedd, but reached only in a store of a worker's, or where code of a table's owner has set the path.
GUARDED = {"_storing_mark", "_check_path"}


def create_tables(connection: psycopg.Connection, owner: str = "owner") -> None:
    """Every kind of pipeline; half of the tables belong to a role of their own."""
    for table in TABLES:
        columns = "(id int primary key, title text, other int)"
        connection.execute(f"create table {table} {columns} {'partition by range (id)' if table == 'parts' else ''}")
        if table != "documents":
            connection.execute(f"alter table {table} owner to {owner}")
    connection.execute("create table part partition of parts for values from (0) to (5000)")
    connection.execute("create table rest partition of parts default")
    for table in TABLES:
        chunks = {"embedding_table": f"{table}_chunks"} if table in CHUNKED else {}
        options = OPTIONS.get(table, {}) | chunks
        create_pipeline(connection, pipeline=table, source=table, content_columns=["title"], **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    for table in TABLES:
        connection.execute(FIRST.format(table=table).encode())
    work(connection)


def dumped(server: EmbeddedPostgres) -> bytes:
    """A dump of a database where every grant was given, by an installer of its own."""
    with fresh_database(server) as database, administrator(server) as admin:
        admin.execute(f"create role installer superuser login password '{PASSWORD}'; create role owner")
        with database.connect() as connection:
            connection.execute("create role reporting; grant create on schema public to owner")
            connection.execute(DEFAULTS)
        as_installer = Database(database.name, conninfo_as(database, "installer"))
        migrate(as_installer.conninfo)
        with connected(as_installer) as connection:
            for kind in GRANTS:
                admin.execute(f"create role with_{kind}")
                connection.execute(f"select pgembedd.grant_{kind}('with_{kind}')")
            connection.execute(LATER)
            create_tables(connection)
        command = [str(server.bin_dir / "pg_dump"), "--format=custom", database.conninfo]
        return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture(scope="module", params=VERSIONS_PARAMS)
def dump_and_server(request: pytest.FixtureRequest) -> Iterator[tuple[bytes, EmbeddedPostgres]]:
    """The dump of one server, and another one of the same version."""
    with server_of_version(request.param) as elsewhere:
        with server_of_version(request.param) as original:
            dump = dumped(original)
        yield dump, elsewhere


@contextmanager
def restored(dump: bytes, server: EmbeddedPostgres, roles: tuple[str, ...]) -> Iterator[Database]:
    """The dump in a new database of a server that has these roles only."""
    with administrator(server) as admin:
        for role in roles:
            admin.execute(f"create role {role}".encode())
        try:
            with fresh_database(server) as copy:
                command = [str(server.bin_dir / "pg_restore"), "-d", copy.conninfo]
                done = subprocess.run(command, input=dump, capture_output=True, check=False)
                errors = re.findall(r"^pg_restore: error: .*?: ERROR:  (.*)$", done.stderr.decode(), re.MULTILINE)
                assert [error for error in errors if not re.fullmatch(r'role ".*" does not exist', error)] == []
                assert errors, "it lacks roles"
                yield copy
        finally:
            for role in column(admin, r"select rolname from pg_roles where rolname !~ '^(pg_|postgres$)'"):
                admin.execute(f"drop role {role}")


@pytest.mark.slow
@pytest.mark.parametrize("present", PRESENT.values(), ids=PRESENT)
def test_writers_go_on_and_migrate_mends_the_rest(
    dump_and_server: tuple[bytes, EmbeddedPostgres], present: tuple[str, ...]
) -> None:
    dump, server = dump_and_server
    with restored(dump, server, present) as copy:
        with connected(copy) as connection:
            connection.execute("create role writer")
            connection.execute("grant all on all tables in schema public to writer")
            assert failures(connection) == []
            assert any("pgembedd migrate" in told for told in findings(connection))
        migrate(copy.conninfo)
        with connected(copy) as connection:
            assert findings(connection) == []
            assert value(connection, "select pgembedd_internal._runner()::text") == "pgembedd"
            assert rows(connection, "select pipeline, reason from pgembedd.status where state <> 'running'") == []
            work(connection)
            for table in TABLES:
                assert not_current(connection, table) == [], table


def test_what_a_writers_statement_needs_is_granted_to_one_role(roles: Roles, empty_database: Database) -> None:
    """Whatever default privileges give to others. Of the queues, in whose place there is `missed`, it is not asked."""
    with empty_database.connect() as connection:
        connection.execute(DEFAULTS.replace("for role installer ", "").replace("reporting", roles.make("reporting")))
        connection.execute(f"grant create on schema public to {(owner := roles.make('owner'))}".encode())
    migrate(empty_database.conninfo)
    with connected(empty_database) as connection:
        create_tables(connection, owner)
        assert rows(connection, GRANTED_TO_OTHERS) == []
        used = column(
            connection, "select prosrc from pg_proc where proname ~ '_on_' and proowner = 'pgembedd'::regrole"
        )
        assert len(used) == 2 * len(TABLES) + 2
        names = {name for text in used for name in re.findall(r"\bpgembedd_internal\.(\w+)[^\w']", text)}
        assert names == GUARDED


def findings(connection: psycopg.Connection) -> list[str]:
    """What the doctor says of the schema and the rights, with its remedy, but for what is well."""
    found = [each for each in examine(connection, Path("/")) if each.about in ("schema", "rights", "queue")]
    return [f"{each.text} {each.remedy}" for each in found if each.level != "ok"]


def failures(connection: psycopg.Connection) -> list[tuple[str, str, str]]:
    """The statements of a writer that fail: table, statement, error."""
    failed = []
    for table in (*TABLES, "part"):
        if table == "part":  # what was written by way of its parent is in the way
            failed += [(table, "begin", problem) for problem in run(connection, f"truncate {table}")]
            failed += [(table, "begin", problem) for problem in run(connection, FIRST.format(table=table))]
        connection.execute("set role writer")
        for kind, statement in STATEMENTS.items():
            failed += [(table, kind, problem) for problem in run(connection, statement.format(table=table))]
        connection.execute("reset role; set session_replication_role = replica")
        connection.execute(f"delete from {table} where id in (101, 204)")
        for kind in AS_REPLICA:
            other_rows = STATEMENTS[kind].format(table=table).replace("102", "103").replace("= 4", "= 6")
            failed += [(table, f"{kind} as replica", problem) for problem in run(connection, other_rows)]
        connection.execute("set session_replication_role = origin")
    for statement in ("update parts set id = id + 6000 where id = 2", "update parts set id = id - 1 where id = 6002"):
        failed += [("parts", "to another partition", problem) for problem in run(connection, statement)]
    for table in ("notes", "clearing", "replicated"):
        for mode in ("replica", "origin"):
            connection.execute(f"set session_replication_role = {mode}")
            failed += [(table, f"truncate as {mode}", problem) for problem in run(connection, f"truncate {table}")]
        failed += [(table, "insert", p) for p in run(connection, STATEMENTS["insert"].format(table=table))]
    return failed


def run(connection: psycopg.Connection, statement: str) -> list[str]:
    """Runs it; the error, if there is one."""
    try:
        with connection.cursor() as cursor:
            if not statement.startswith("copy"):
                cursor.execute(statement.encode())
                return []
            with cursor.copy(statement.encode()) as copy:
                copy.write("301\tcopied\n")
    except psycopg.Error as error:
        return [f"{error.sqlstate} {error}"]
    return []


def not_current(connection: psycopg.Connection, table: str) -> list[object]:
    """The keys whose vectors are not those of their row's text."""
    found = dict(rows(connection, f"select id, title from {table}"))
    target, vector = (f"{table}_chunks", "embedding") if table in CHUNKED else (table, "embedding")
    stored = dict(rows(connection, f"select id, {vector} from {target}"))
    stored_lists = {key: None if one is None else one.to_list() for key, one in stored.items()}
    return sorted(
        key for key in found.keys() | stored.keys() if key not in found or stored_lists.get(key) != made_up(found[key])
    )
