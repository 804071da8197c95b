"""A schema `pgembedd` of another role's: nothing in it is run, whatever a command, a program or a service asks for."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from pgembedd import AsyncDatabase, SearchError
from pgembedd import Database as Searches
from pgembedd.cli import COMMANDS
from pgembedd.database.connect import connect
from pgembedd.database.migrate import downgrade, migrate
from pgembedd.database.own_version import HEAD, sql_digest
from pgembedd.database.schema_check import check_schema
from pgembedd.errors import SchemaError
from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal
from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.refusals import sentence
from tests.support.roles import Roles, connect_as, conninfo_as
from tests.support.sql import value

# The trap is a sequence: what it has counted outlives a transaction that fails.
PLANT = f"""
    create schema pgembedd;
    create schema pgembedd_internal;
    grant usage on schema pgembedd, pgembedd_internal to public;
    create sequence pgembedd.caught;
    grant all on sequence pgembedd.caught to public;
    create function pgembedd.caught(note text) returns text language sql as
        $$ select pg_catalog.nextval('pgembedd.caught'); select note $$;
    create function pgembedd.schema_version(out revision text, out sql_digest text) language sql as
        $$ select pgembedd.caught('{HEAD}'), '{sql_digest()}' $$;
    create function pgembedd.search_pipelines() returns table (pipeline text) language sql as
        $$ select pgembedd.caught('documents') $$;
    create function pgembedd.search(pipeline text, query text) returns table (key jsonb) language sql as
        $$ select pg_catalog.to_jsonb(pgembedd.caught('1')) $$;
    create function pgembedd_internal._undo_imports() returns void language sql
        as $$ select pgembedd.caught('undone') $$;
"""
CALLS: dict[str, list[list[str]]] = {
    "migrate": [[]],
    "uninstall": [["--yes"]],
    "up": [[]],
    "run": [[]],
    "serve": [["--http-port", "0"]],
    "status": [[], ["--json"]],
    "events": [[]],
    "truncated": [[]],
    "search": [["a question", "documents", "--mode", "text"]],
    "ask": [["a question", "documents"]],
    "eval": [["documents", "QUESTIONS"]],
    "backfill": [["documents"]],
    "retry": [["documents"]],
    "verify": [[]],
    "index": [[]],
    "import": [["supabase"], ["supabase", "--undo"], ["pgai"]],
}
WITHOUT_A_DATABASE = {"demo", "health", "model", "parse", "postgres"}  # of others
ELSEWHERE = {"doctor", "mcp", "try"}  # the last one calls nothing in the schema


@pytest.fixture
def planter(roles: Roles, empty_database: Database) -> str:
    """The role that made the schema: it may create schemas in the database, and nothing else."""
    planter = roles.make("planter")
    with empty_database.connect() as admin:
        admin.execute(f"grant create on database {empty_database.name} to {planter}")
    with connect_as(empty_database, planter) as theirs:
        theirs.execute(PLANT.encode())
    return planter


def assert_not_run(database: Database) -> None:
    with database.connect() as admin:
        assert value(admin, "select is_called from pgembedd.caught") is False


def test_every_command_is_walked() -> None:
    assert {*CALLS, *WITHOUT_A_DATABASE, *ELSEWHERE} == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", CALLS)
def test_a_command_refuses_it(planter: str, empty_database: Database, command: str, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"query": "a question", "relevant": [1]}')
    for arguments in CALLS[command]:
        given = [str(questions) if word == "QUESTIONS" else word for word in arguments]
        done = pgembedd(command, *given, database=empty_database.conninfo)
        assert done.code == 4, (arguments, done)
        assert f"The schema pgembedd belongs to the role {planter}, whose code would run with your rights" in done.err
        assert "Traceback" not in done.err
    assert_not_run(empty_database)


def test_status_and_migrate_refuse_it(planter: str, empty_database: Database) -> None:
    """The short form of the walk."""
    for command in ("status", "migrate"):
        said = pgembedd(command, database=empty_database.conninfo).refused(4)
        assert f"The schema pgembedd belongs to the role {planter}" in said
    assert_not_run(empty_database)


def test_the_doctor_says_whose_it_is(planter: str, empty_database: Database) -> None:
    done = pgembedd("doctor", database=empty_database.conninfo)
    assert done.code == 1
    assert f"BAD   schema: The schema pgembedd belongs to the role {planter}" in done.out
    assert_not_run(empty_database)


def test_a_program_and_a_service_refuse_it(planter: str, empty_database: Database, roles: Roles) -> None:
    searcher = roles.make("searcher", "noinherit")
    told = f"The schema pgembedd belongs to the role {planter}"
    for url in (empty_database.conninfo, conninfo_as(empty_database, searcher)):
        with Searches(url) as searches, pytest.raises(SearchError, match=told):
            searches.pipelines()

        async def search(url: str = url) -> None:
            async with AsyncDatabase(url) as searches:
                await searches.pipelines()

        with pytest.raises(SearchError, match=told):
            asyncio.run(search())
    caller = Caller(frozenset(), conninfo_as(empty_database, searcher))
    with closing(SearchRoles(timeout_s=10)) as service:
        with pytest.raises(Refusal, match=told), service.transaction(caller):
            pass
        with pytest.raises(Refusal, match=told):
            service.rows(caller, "select pgembedd.caught('x')", {})
    assert_not_run(empty_database)


def test_what_a_stranger_made_in_our_schema_is_refused(roles: Roles, database: Database) -> None:
    """A role that was given CREATE on it once."""
    stranger = roles.make("stranger")
    for what in (
        "function pgembedd.extra()",
        "table pgembedd.extra",
        "type pgembedd.extra",
        "operator pgembedd.=(regtype,text)",
    ):
        with database.connect() as admin:
            admin.execute(
                f"grant usage, create on schema pgembedd, pgembedd_internal to {stranger}; "
                f"grant create on schema public to {stranger}"
            )
            with connect_as(database, stranger) as theirs:
                theirs.execute(MADE[what.split()[0]].encode())
            with connect(database.conninfo) as own, pytest.raises(SchemaError, match=f"belongs to the role {stranger}"):
                check_schema(own)
            with pytest.raises(SchemaError, match="belongs to the role"):
                migrate(database.conninfo)
            admin.execute(f"drop {what}".encode())
    with connect(database.conninfo) as own:
        check_schema(own)


MADE = {
    "function": "create function pgembedd.extra() returns int language sql as 'select 1'",
    "table": "create table pgembedd.extra (id int)",
    "type": "create type pgembedd.extra as enum ('a')",
    "operator": """create function public.same(regtype, text) returns boolean language sql as 'select true';
                   create operator pgembedd.= (leftarg = regtype, rightarg = text, function = public.same)""",
}


@pytest.mark.parametrize("schema", ["pgmq", "net", "cron", "pgembedd_code"])
def test_nothing_is_installed_into_a_schema_of_a_stranger(roles: Roles, empty_database: Database, schema: str) -> None:
    stranger = roles.make("stranger")
    with empty_database.connect() as admin:
        admin.execute(f"create schema {schema} authorization {stranger}")
        with pytest.raises(SchemaError, match=f"The schema {schema} belongs to the role {stranger}"):
            migrate(empty_database.conninfo)
        assert value(admin, "select to_regnamespace('pgembedd')") is None


def test_vector_goes_into_no_schema_of_a_stranger(roles: Roles, empty_database: Database) -> None:
    """One that is called like the role which migrates comes first in its path."""
    stranger = roles.make("stranger")
    with empty_database.connect() as admin:
        admin.execute(f"create schema postgres authorization {stranger}")
        migrate(empty_database.conninfo)
        assert (
            value(admin, "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'")
            == "public"
        )
        downgrade(empty_database.conninfo)
        admin.execute("alter extension vector set schema postgres")
        with pytest.raises(SchemaError, match=f"The schema postgres belongs to the role {stranger}"):
            migrate(empty_database.conninfo)


def test_roles_that_are_trusted(roles: Roles, database: Database) -> None:
    """The installer need be no superuser, and a worker has no rights but those that it was granted."""
    installer, worker = roles.make("installer"), roles.make("worker")
    give = """
        do $$ declare one record; begin
            for one in select oid::regprocedure as name
                from pg_proc where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
                       and proowner <> 'pgembedd'::regrole loop
                execute format('alter routine %s owner to {role}', one.name);
            end loop;
            for one in select oid::regclass as name from pg_class c
                where relnamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
                       and relkind in ('r', 'v', 'c') loop
                if (select relkind from pg_class where oid = one.name) = 'c' then
                    execute format('alter type %s owner to {role}', one.name);
                else execute format('alter table %s owner to {role}', one.name); end if;
            end loop;
            alter sequence pgembedd_internal.worker_idle owner to {role};
            alter schema pgembedd owner to {role};
            alter schema pgembedd_code owner to {role};
        end $$
    """

    def checked(role: str | None = None) -> None:
        with connect(database.conninfo if role is None else conninfo_as(database, role)) as opened:
            check_schema(opened)

    with database.connect() as admin:
        admin.execute("select pgembedd.grant_worker(%s)", [worker])
        checked(worker)
        admin.execute(give.format(role=installer).encode())
        admin.execute(f"grant select on all tables in schema pgembedd, pgembedd_internal to {worker}")
        told = f"The schema pgembedd belongs to the role {installer}"
        for role in (None, worker):
            with sentence(SchemaError, told):
                checked(role)
        admin.execute(f"alter database {database.name} owner to {installer}")
        checked()
        checked(worker)
        admin.execute(f"alter database {database.name} owner to postgres")
        admin.execute(f"grant {installer} to {worker}")
        checked(worker)
        admin.execute(f"revoke {installer} from {worker}")
        admin.execute(f"grant pgembedd to {installer}")
        checked(worker)
        admin.execute(f"revoke pgembedd from {installer}")
        with pytest.raises(SchemaError, match=told):
            checked(worker)
        admin.execute(give.format(role="postgres").encode())
