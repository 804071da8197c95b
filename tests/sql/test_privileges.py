"""Who may do what: the worker's role, applications, table owners, and everybody else."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    column,
    create_pipeline,
    learn_vector,
    made_up,
    make_documents,
    queued,
    refused,
    rows,
    value,
    vectors,
    work,
)

WORKER_FUNCTIONS = {
    "claim(text,integer,integer,integer)",
    "diagnose(integer)",
    "extend(text,bigint[],integer[],integer)",
    "fail(text,bigint,integer,text,text,boolean)",
    "lanes()",
    "mark_alone(text,bigint,integer)",
    "models()",
    "pin_model(integer,text)",
    "read(integer,jsonb[])",
    "release(text,bigint[],integer[],double precision)",
    "schema_version()",
    "set_idle(boolean)",
    "stop_pipeline(integer,text)",
    "store(text,integer,bigint[],integer[],bytea[],vector[],integer[])",
    "tick(double precision,double precision)",
}

MAY_EXECUTE = """
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace in ('pgembedd'::regnamespace, 'pgmq'::regnamespace)
      and has_schema_privilege(%(role)s, p.pronamespace, 'usage') and has_function_privilege(%(role)s, p.oid, 'execute')
"""
MAY_TOUCH = """
    select c.oid::regclass::text from pg_class c
    where c.relnamespace in ('pgembedd'::regnamespace, 'pgmq'::regnamespace, 'public'::regnamespace)
      and case c.relkind when 'S' then has_sequence_privilege(%(role)s, c.oid, 'usage, select, update')
          when 'i' then false when 'c' then false
          else has_table_privilege(%(role)s, c.oid, 'select, insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(%(role)s, c.oid, 'select, insert, update, references') end
"""


def names(connection: psycopg.Connection, query: str, role: str) -> set[str]:
    return {row[0].removeprefix("pgembedd.") for row in connection.execute(query, {"role": role}).fetchall()}


@pytest.fixture
def documents(connection: psycopg.Connection) -> psycopg.Connection:
    """A pipeline, so that there is generated code, too."""
    make_documents(connection, 2)
    create_pipeline(connection, on_update="clear")
    return connection


def test_the_workers_role_may_call_exactly_this(documents: psycopg.Connection) -> None:
    assert names(documents, MAY_EXECUTE, "pgembedd_worker") == WORKER_FUNCTIONS
    assert names(documents, MAY_TOUCH, "pgembedd_worker") == set()


def test_public_has_nothing(roles: Roles, documents: psycopg.Connection) -> None:
    nobody = roles.make("nobody")
    assert names(documents, MAY_TOUCH, nobody) == set()
    for schema in ("pgembedd", "pgmq"):
        assert value(documents, f"select has_schema_privilege('{nobody}', '{schema}', 'usage')") is False
    # Not even with the schema opened by mistake.
    documents.execute(f"grant usage on schema pgembedd to {nobody}")
    assert {name for name in names(documents, MAY_EXECUTE, nobody) if not name.startswith("pgmq.")} == set()


def test_a_worker_of_ones_own_role_works(roles: Roles, database: Database, documents: psycopg.Connection) -> None:
    role = roles.make("worker")
    documents.execute("select pgembedd.grant_worker(%s)", [role])
    assert names(documents, MAY_EXECUTE, role) == WORKER_FUNCTIONS
    with connect_as(database, role) as worker:
        learn_vector(worker)
        documents.execute("insert into documents values (3, 'x')")
        assert set(work(worker).values()) == {"written"}
        worker.execute("select pgembedd.tick(0, 0), pgembedd.set_idle(true)")
        for forbidden in (
            "select * from documents",
            "select * from pgembedd.pipeline",
            "select * from pgembedd.status",
            "select * from pgmq.q_embedding_jobs",
            "select pgembedd.pipeline_1_read('{}')",
            "select pgembedd.pause('documents')",
            "select pgembedd._repair()",
            "select nextval('pgembedd.worker_idle')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(forbidden)


def owned_table(connection: psycopg.Connection, owner: str) -> None:
    """`documents` of another role's, created by that role."""
    connection.execute(f"grant create on schema public to {owner}")
    connection.execute(f"set role {owner}")
    make_documents(connection)
    connection.execute("reset role")


@pytest.mark.parametrize("force", [False, True])
def test_an_application_needs_no_right_but_on_its_table(
    roles: Roles, database: Database, connection: psycopg.Connection, force: bool
) -> None:
    owner, application = roles.make("owner", "bypassrls" if force else ""), roles.make("application")
    owned_table(connection, owner)
    connection.execute(f"""
        alter table documents add author text default current_user, enable row level security;
        grant insert, update, select on documents to {application};
        create policy mine on documents to {application} using (author = current_user and id < 100)
    """)
    if force:
        connection.execute("alter table documents force row level security")
    create_pipeline(connection)
    with connect_as(database, application) as app:
        app.execute("insert into documents (id, title) values (1, 'one'), (2, 'two')")
        app.execute("update documents set title = 'zwei' where id = 2")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("select * from pgmq.q_embedding_jobs")
    connection.execute("insert into documents (id, title, author) values (3, 'three', 'somebody')")
    assert queued(connection) == [1, 2, 2, 3]
    assert work(connection) == {1: "written", 2: "written", 3: "written"}
    connection.execute("update documents set embedding = null")
    connection.execute("delete from pgmq.q_embedding_jobs")
    assert value(connection, "select pgembedd.sweep()") == 3


def test_forced_row_security_that_binds_the_owner_is_refused(roles: Roles, connection: psycopg.Connection) -> None:
    """Nobody with more rights may stand in for the owner, whose function and triggers would then run with them."""
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute("alter table documents enable row level security, force row level security")
    sentence = (
        f"Row level security is forced on public.documents, so that {owner}, who owns it, would not see every row. "
        f"Have an administrator run ALTER ROLE {owner} BYPASSRLS, "
        "or ALTER TABLE public.documents NO FORCE ROW LEVEL SECURITY."
    )
    with refused(sentence):
        create_pipeline(connection)
    connection.execute("alter table documents no force row level security")
    create_pipeline(connection)
    connection.execute("insert into documents values (1, 'x')")
    connection.execute("alter table documents force row level security")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):  # an error, not a silent "gone"
        work(connection)
    assert value(connection, "select pgembedd.diagnose(1)") == sentence
    assert queued(connection) == [1]


WHOAMI = """
    create table seen (who text, at text);
    create function embedding_input(d documents) returns text language plpgsql as $$
    begin insert into seen values (current_user, 'content'); return d.title; end $$;
    create function look() returns trigger language plpgsql as $$
    begin insert into seen values (current_user, tg_when); return new; end $$;
    create trigger before_ before update on documents for each row execute function look();
    create trigger after_ after update on documents for each row execute function look();
"""


def test_what_is_the_owners_runs_as_the_owner(roles: Roles, connection: psycopg.Connection) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute(f"set role {owner}")
    connection.execute(WHOAMI)
    connection.execute("reset role")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("insert into documents values (1, 'x')")
    assert work(connection) == {1: "written"}
    assert set(rows(connection, "select * from seen")) == {(owner, "content"), (owner, "BEFORE"), (owner, "AFTER")}
    assert rows(
        connection,
        "select proname, proowner::regrole::text from pg_proc where proname like 'pipeline\\_%' order by 1",
    ) == [
        ("pipeline_1_on_insert", "postgres"),
        ("pipeline_1_on_update", "postgres"),
        ("pipeline_1_read", owner),
        ("pipeline_1_write", owner),
    ]
    assert value(connection, f"select has_schema_privilege('{owner}', 'pgembedd', 'create')") is False
    for function in ("read(jsonb[])", "write(jsonb[],bytea[],vector[])"):
        assert (
            value(connection, f"select has_function_privilege('public', 'pgembedd.pipeline_1_{function}', 'execute')")
            is False
        )


@pytest.mark.parametrize(
    "trick", ["set role postgres", "reset role", "set session authorization postgres", "alter role {owner} superuser"]
)
def test_a_malicious_content_function_gets_no_further(roles: Roles, connection: psycopg.Connection, trick: str) -> None:
    owner = roles.make("owner")
    owned_table(connection, owner)
    connection.execute(f"set role {owner}")
    connection.execute(f"""
        create function embedding_input(d documents) returns text language plpgsql as $$
        begin execute '{trick.format(owner=owner)}'; return current_user; end $$
    """)
    connection.execute("reset role")
    create_pipeline(connection, content_function="embedding_input")
    connection.execute("insert into documents values (1, 'x')")
    with pytest.raises(psycopg.Error) as caught:
        work(connection)
    assert caught.value.sqlstate in ("42501", "22023", "0A000", "42P13")


def test_a_new_owner_takes_over_after_resume(roles: Roles, connection: psycopg.Connection) -> None:
    first, second = roles.make("first"), roles.make("second")
    owned_table(connection, first)
    create_pipeline(connection)
    connection.execute(f"alter table documents owner to {second}")
    connection.execute("select pgembedd.pause('documents'), pgembedd.resume('documents')")
    assert set(
        column(
            connection,
            "select proowner::regrole::text from pg_proc where proname in ('pipeline_1_read', 'pipeline_1_write')",
        )
    ) == {second}


def test_another_role_cannot_attach_our_trigger_function(
    roles: Roles, database: Database, documents: psycopg.Connection
) -> None:
    stranger = roles.make("stranger")
    documents.execute(f"grant create on schema public to {stranger}")
    documents.execute(f"grant usage on schema pgembedd to {stranger}")
    with connect_as(database, stranger) as theirs:
        theirs.execute("create table theirs (id int primary key, title text, content text, embedding halfvec(3))")
        for function in ("on_insert", "on_update", "clear"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute(f"""
                    create trigger evil after insert on theirs referencing new table as new_rows
                    for each statement execute function pgembedd.pipeline_1_{function}()
                """)


def test_another_role_cannot_register_a_table_that_is_not_its_own(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    """Even with all rights on our schema, the functions that run as the owner are not to be had."""
    owner, stranger = roles.make("owner"), roles.make("stranger")
    owned_table(connection, owner)
    connection.execute(f"""
        grant usage on schema pgembedd, pgmq to {stranger};
        grant execute on all functions in schema pgembedd to {stranger};
        grant all on all tables in schema pgembedd, pgmq to {stranger};
    """)
    with (
        connect_as(database, stranger) as theirs,
        refused(
            f"public.documents belongs to {owner}, and {stranger} may not act for that role.",
            f"Run this as {owner} or as a superuser, or GRANT {owner} TO {stranger}.",
        ),
    ):
        create_pipeline(theirs)


SHADOWS = """
    create table public.caught (what text);
    grant insert on public.caught to public;
    create function public.count(bigint) returns bigint language plpgsql as $$
    begin insert into public.caught values ('count'); return 0; end $$;
    create function public.format(text, text) returns text language plpgsql as $$
    begin insert into public.caught values ('format'); return $1; end $$;
    create function public.concat_ws(text, text, text) returns text language plpgsql as $$
    begin insert into public.caught values ('concat_ws'); return 'evil'; end $$;
    create function public.sha256(bytea) returns bytea language plpgsql as $$
    begin insert into public.caught values ('sha256'); return 'evil'; end $$;
    create function public.convert_to(text, text) returns bytea language plpgsql as $$
    begin insert into public.caught values ('convert_to'); return 'evil'; end $$;
    create function public.jsonb_build_object(text, jsonb) returns jsonb language plpgsql as $$
    begin insert into public.caught values ('jsonb_build_object'); return '{}'; end $$;
    create function public.to_jsonb(integer) returns jsonb language plpgsql as $$
    begin insert into public.caught values ('to_jsonb'); return '1'; end $$;
    create function public.equal(integer, integer) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = integer, rightarg = integer, procedure = public.equal);
    create function public.equal(bytea, bytea) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = bytea, rightarg = bytea, procedure = public.equal);
    create function public.equal(bigint, bigint) returns boolean language plpgsql as $$
    begin insert into public.caught values ('='); return true; end $$;
    create operator public.= (leftarg = bigint, rightarg = bigint, procedure = public.equal);
    create function public.differ(record, record) returns boolean language plpgsql as $$
    begin insert into public.caught values ('*<>'); return true; end $$;
    create operator public.*<> (leftarg = record, rightarg = record, procedure = public.differ);
    create domain public.jsonb as text; create domain public.text as int; create domain public.record as int;
"""


def test_what_shadows_ours_is_not_called(
    roles: Roles, database: Database, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    """A role with CREATE on `public` shadows what we call, and whoever calls us has that schema before pg_catalog."""
    evil = roles.make("evil")
    connection.execute(f"grant create on schema public to {evil}")
    make_documents(connection, 1)
    with connect_as(database, evil) as theirs:
        theirs.execute(SHADOWS)
    assert rows(connection, "select 1 from public.caught") == []
    connection.execute("set search_path to public, pg_catalog")
    with pytest.raises(psycopg.Error):
        connection.execute("select count from (select 1 = 1) x(count), caught where caught")  # the trap is set
    create_pipeline(connection, on_update="clear")
    connection.execute("insert into documents values (2, 'x', 'y')")
    connection.execute("update documents set title = 'z' where id operator(pg_catalog.=) 2")
    for function in (
        "tick(0, 0)",
        "sweep()",
        "_repair()",
        "pause('documents')",
        "resume('documents')",
        "retry_failed()",
    ):
        connection.execute(f"select pgembedd.{function}")
    assert set(work(other).values()) == {"written"}
    connection.execute("reset search_path")
    assert column(connection, "select what from public.caught") == []
    assert vectors(connection) == [made_up("title 1\n\ncontent 1"), made_up("z\n\ny")]


def test_everything_of_ours_has_its_path_pinned(documents: psycopg.Connection) -> None:
    """But create_pipeline and wait_for, which say why; and what runs a user's code, under the user's path."""
    unpinned = column(
        documents,
        """select proname from pg_proc where pronamespace = 'pgembedd'::regnamespace and not exists (
           select from unnest(proconfig) c
           where c in ('search_path=pg_catalog, pgembedd, pg_temp', 'search_path=pg_catalog, pg_temp'))
           order by 1""",
    )
    assert unpinned == ["create_pipeline", "pipeline_1_read", "pipeline_1_write", "wait_for"]


def test_definers_that_read_users_tables_have_row_security_off(documents: psycopg.Connection) -> None:
    without = column(
        documents,
        """select proname from pg_proc where pronamespace = 'pgembedd'::regnamespace and prosecdef
           and not coalesce('row_security=off' = any (proconfig), false) order by 1""",
    )
    assert not {"claim", "read", "store", "sweep", "retention", "pipeline_1_read", "pipeline_1_write"} & set(without)
