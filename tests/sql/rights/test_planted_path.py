"""Code of a table's owner runs with no other rights, and no name is looked up in the search_path that it sets.

The owner has a schema with a function and an operator in the place of each that Postgres and pgembedd have. Called with
a superuser's rights, any of them makes the owner a superuser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.prepared import prepared
from tests.support.roles import connect_as, temporary_roles
from tests.support.sql import BACKFILL, call, claim, connected, create_pipeline, make_documents, store, value, work

SHADOWS = """
    create function planted.trap() returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
        if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
            execute 'alter role {owner} superuser';
        end if;
    end $$;
    do $do$
    declare
        one record;
    begin
        for one in
            select f.proname, pg_catalog.pg_get_function_arguments(f.oid) as arguments,
                   pg_catalog.pg_get_function_result(f.oid) as result, f.proretset or f.prorettype = 'void'::regtype
                       or f.proargmodes is not null as bare
            from pg_catalog.pg_proc f
            where f.pronamespace in ('pg_catalog'::regnamespace, 'pgembedd'::regnamespace,
                'pgembedd_internal'::regnamespace) and f.prokind = 'f'
              and f.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'cstring'::regtype)
              and not array['internal', 'cstring', '"any"']::regtype[]::oid[] && f.proargtypes::oid[]
              and f.proname not in ('create_pipeline', '_check_session')
        loop
            begin
                execute pg_catalog.format('create function planted.%I(%s) returns %s language plpgsql as %L',
                    one.proname, pg_catalog.regexp_replace(one.arguments, ' DEFAULT [^,]*(?=,|$)', '', 'g'),
                    one.result, pg_catalog.concat('begin perform planted.trap(); return',
                                                  case when one.bare then '' else ' null' end, '; end'));
            exception when others then null;  -- pseudo-types and defaults that cannot be written again
            end;
        end loop;
        for one in
            select o.oprname, o.oprleft::regtype as lefts, o.oprright::regtype as rights, o.oprresult::regtype as result
            from pg_catalog.pg_operator o
            where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprleft <> 0 and o.oprresult <> 0
        loop
            begin
                execute pg_catalog.format('create or replace function planted.operate(%s, %s) returns %s
                    language plpgsql as %L', one.lefts, one.rights, one.result,
                    'begin perform planted.trap(); return null; end');
                execute pg_catalog.format('create operator planted.%s (leftarg = %s, rightarg = %s,
                    function = planted.operate)', one.oprname, one.lefts, one.rights);
            exception when others then null;
            end;
        end loop;
    end $do$;
"""

# What outlives the call: a path for the session and not for the transaction alone, a cursor whose query runs at COMMIT
# as the session's user, a statement under a name that the session may execute.
SPOILS = {
    "path": "perform pg_catalog.set_config('search_path', 'planted, pg_catalog, pgembedd, public', false)",
    "cursor": """execute pg_catalog.format('declare kept_%s cursor with hold for select planted.trap()',
                                          (1000000 * pg_catalog.random())::bigint)""",
    "prepared": """if not exists (select from pg_catalog.pg_prepared_statements) then
                       execute 'prepare planted as select planted.trap()'; end if""",
}
PLANT = """
    create or replace function planted.spoil() returns boolean language plpgsql as $$
    begin
        perform planted.trap();
        {spoil};
        return true;
    end $$;
    create or replace function planted.spoiling(integer) returns boolean immutable language plpgsql as $$
    begin
        return planted.spoil();
    end $$;
    create or replace function public.inp(documents) returns text language plpgsql as $$
    begin
        if {in_content} then perform planted.spoil(); end if;
        return $1.title;
    end $$;
    create or replace function planted.on_row() returns trigger language plpgsql as $$
    begin
        perform planted.spoil();
        return new;
    end $$;
"""

MISTYPED = (psycopg.errors.SyntaxError, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName)
PLANTED = {
    "content": "select",
    "trigger": "create trigger spoil before update on documents for each row execute function planted.on_row()",
    "deferred trigger": """create constraint trigger spoil after update on documents deferrable initially deferred
                           for each row execute function planted.on_row()""",
    "domain": """create domain planted.checked as int check (planted.spoiling(value));
                 alter table documents alter id type planted.checked""",
    "index": "create index spoil on documents (id) where planted.spoiling(1)",
}

# What a superuser may do with the pipeline, in this order; some fail of what is planted.
STATEMENTS = (
    "select * from pgembedd.status",
    "select pgembedd.backfill('documents', force => true)",
    "select pgembedd.requeue('documents', array['1'::jsonb])",
    "select pgembedd_internal._import_pending('documents', 'documents')",
    "select pgembedd.tick(0, 0)",
    "select pgembedd.sweep()",
    "select pgembedd.retention()",
    "select pgembedd_internal.diagnose(1)",
    "select pgembedd_internal._sample_keys('documents', 10, 1)",
    "select pgembedd_internal._next_keys('documents', null, 10)",
    "select * from pgembedd_internal._look_at('documents', array['1'::jsonb], true)",
    "select pgembedd_internal._repair()",
    "select pgembedd.resume('documents')",
    "select pgembedd.index_statements('documents')",
    "call pgembedd.wait_for_row('documents', '1', '10 ms')",
    "select pgembedd.change_model('documents', 'another', 3)",
    "select * from pgembedd.compare_models('documents')",
    "select pgembedd.drop_pipeline('documents.next', drop_vectors => true)",
    "select pgembedd.drop_pipeline('documents', drop_vectors => true)",
)

# What the owner writes meanwhile; our triggers must not run any of that with more rights.
WRITES = (
    "update documents set id = 4, title = 'four' where id = 2",
    "delete from documents where id = 3",
    "alter table documents rename id to renamed",
    "insert into documents values (7, 'seven')",
    "alter table documents rename renamed to id",
)


@pytest.fixture(scope="module", autouse=True)
def planter(server: EmbeddedPostgres) -> Iterator[str]:
    """The owner in all databases of this file, which are copies of one."""
    with temporary_roles(server) as roles:
        yield roles.make("planter")


@prepared
def shadowed(connection: psycopg.Connection) -> None:
    """`documents` with three rows, and the schema with the shadows."""
    owner = value(connection, "select rolname from pg_roles where rolname like 'planter\\_%'")
    connection.execute(f"grant create on schema public to {owner}")
    connection.execute(f"create schema planted authorization {owner}; set role {owner}")
    make_documents(connection, 3)
    connection.execute("grant usage on schema planted to public")
    connection.execute(SHADOWS.format(owner=owner).encode())


@pytest.fixture
def owner(planter: str, shadowed: psycopg.Connection, database: Database) -> str:
    """The owner of all this, with no other rights whatever a test before has come to."""
    shadowed.execute(f"alter role {planter} nosuperuser")
    shadowed.execute(f"grant create on database {database.name} to {planter}")
    return planter


def superuser(connection: psycopg.Connection, role: str) -> bool:
    return bool(
        value(connection, "select rolsuper from pg_catalog.pg_roles where rolname operator(pg_catalog.=) %s", role)
    )


@pytest.mark.slow
def test_the_trap_is_set(connection: psycopg.Connection, owner: str) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("set local search_path = planted, pg_catalog, pgembedd, public")
        connection.execute("select lower('A')")
        assert superuser(connection, owner)
    with connection.transaction(force_rollback=True):
        connection.execute("set local search_path = planted, pg_catalog, pgembedd, public")
        connection.execute("select 1 = 2")
        assert superuser(connection, owner)


CASES = [("path", planted, destination) for planted in PLANTED for destination in ("column", "table")] + [
    ("cursor", "trigger", "column"),
    ("cursor", "index", "column"),
    ("cursor", "index", "table"),
    ("prepared", "index", "column"),
    ("prepared", "domain", "table"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "planted", "destination"), CASES)
def test_what_is_planted_gains_nothing(
    database: Database,
    connection: psycopg.Connection,
    owner: str,
    spoil: str,
    planted: str,
    destination: str,
) -> None:
    def plant() -> None:
        """An index is not built with what a security-restricted operation refuses: the function is replaced then."""
        with connect_as(database, owner) as theirs:
            theirs.execute(PLANT.format(spoil="null", in_content=planted == "content").encode())
            theirs.execute(PLANTED[planted].encode())
            theirs.execute(PLANT.format(spoil=SPOILS[spoil], in_content=planted == "content").encode())

    plant()
    options = {"embedding_table": "chunks"} if destination == "table" else {}
    with attempt(database, connection, owner) as session:
        create_pipeline(session, content_function="inp", index_type="hnsw", **options)
    if planted == "index" and spoil != "prepared" and options:  # as chunks of rows that are gone are deleted
        assert value(connection, "select count(*) from pgembedd_internal.pipeline") == 0
        with connect_as(database, owner) as theirs:
            theirs.execute("drop index spoil")
        create_pipeline(connection, content_function="inp", index_type="hnsw", **options)
        plant()
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    jobs = claim(connection, BACKFILL)
    assert len(jobs) == 3
    for job in jobs:
        with attempt(database, connection, owner) as session:
            store(session, [job])
    for statement in WRITES:
        with connect_as(database, owner) as theirs, contextlib.suppress(psycopg.Error):
            theirs.execute(statement.encode())
        assert not superuser(connection, owner)
    for statement in STATEMENTS:
        with attempt(database, connection, owner) as session:
            session.execute(statement.encode())


@pytest.mark.slow
def test_clearing_a_table_fires_its_triggers_as_its_owner(
    database: Database, connection: psycopg.Connection, owner: str
) -> None:
    create_pipeline(connection, embedding_table="chunks", model="tiny")
    connection.execute("select pgembedd_internal.pin_model(1, 'made up')")
    work(connection)
    call(connection, "drop_pipeline", pipeline="documents")
    with connect_as(database, owner) as theirs:
        theirs.execute("create table seen (who text)")
        theirs.execute("""create function planted.on_truncate() returns trigger language plpgsql as $$
                          begin insert into seen values (current_user); perform planted.trap(); return null; end $$""")
        theirs.execute("create trigger spoil after truncate on chunks execute function planted.on_truncate()")
    create_pipeline(connection, embedding_table="chunks", existing_vectors="clear", model="tiny")
    assert value(connection, "select who from seen") == owner
    assert not superuser(connection, owner)


@contextmanager
def attempt(database: Database, connection: psycopg.Connection, owner: str) -> Iterator[psycopg.Connection]:
    """A superuser's session for what may fail: it must keep its path, and the owner must stay what it is."""
    with connected(database) as session:
        before = value(session, "show search_path")
        with contextlib.suppress(psycopg.Error):
            try:
                yield session
            except MISTYPED as error:
                raise AssertionError("The statement meets nothing that was planted.") from error
        assert value(session, "show search_path") == before
        assert value(session, "select count(*) from pg_catalog.pg_prepared_statements where from_sql") == 0
        assert value(session, "select count(*) from pg_catalog.pg_cursors where is_holdable") == 0
    assert not superuser(connection, owner)
