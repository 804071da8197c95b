"""After an upgrade from any older version there is exactly what a fresh installation has, and what users made works."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import migrate
from pgembedd.errors import ConfigurationError
from tests.migration.alembic_project import Project
from tests.migration.catalog import catalog, differences
from tests.migration.older_version import GONE, Change, add_overloads, age
from tests.support.answers import ask
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.search import QUERY, make_source
from tests.support.sql import call, column, create_pipeline, rows, state, value, work

CHANGES: list[Change] = ["fewer parameters", "another parameter"]

# What an owner grants by hand, on top of what our functions grant.
GRANTED = """
    grant select on pgembedd.status to {reader} with grant option;
    grant select on pgembedd.truncated to public;
    grant select (pipeline, reason) on pgembedd.dead_letters to {reader};
    grant execute on function pgembedd.row_status(text, jsonb[]) to {reader} with grant option;
"""


def installed(connection: psycopg.Connection, roles: Roles) -> str:
    """Two pipelines, roles of all kinds, a thread with an answer; returns the role that reads."""
    reader, asker, other = roles.make("reader"), roles.make("asker"), roles.make("other")
    make_source(connection, 3)
    create_pipeline(connection, pipeline="chunks", embedding_table="chunks", chunk_tokens=64, on_update="clear")
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.execute(GRANTED.format(reader=reader))
    for kind, role in (("worker", reader), ("operator", reader), ("search", other), ("ask", asker)):
        connection.execute(f"select pgembedd.grant_{kind}('{role}')")
    connection.execute(f"grant select on documents to {asker}, {other}")
    with connection.transaction():
        connection.execute(f"set local role {asker}")
        ask(connection)
    call(connection, "sweep")
    return reader


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_an_older_version_becomes_what_a_fresh_installation_is(
    roles: Roles, database: Database, connection: psycopg.Connection, change: Change
) -> None:
    installed(connection, roles)
    fresh = catalog(connection)
    age(connection, change)
    connection.execute(GONE)
    assert len(differences(fresh, catalog(connection))) > 200
    migrate(database.conninfo)
    assert differences(fresh, catalog(connection)) == {}
    assert column(connection, "select question from pgembedd_internal.answer") == ["what is it"]
    connection.execute("insert into documents values (4, 'x', 'y')")
    assert work(connection)[4] == "written"
    assert column(connection, "select state from pgembedd.status") == ["running", "running"]


@pytest.mark.slow
def test_overloads_that_an_upgrade_left_are_gone_after_the_next(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    installed(connection, roles)
    fresh = catalog(connection)
    assert add_overloads(connection) > 400
    migrate(database.conninfo)
    assert differences(fresh, catalog(connection)) == {}


# What users made of our functions and views. A materialized view and an index are the two that cannot follow.
USED = f"""
    create function pgembedd_search_test() returns bigint language sql stable begin atomic
        select count(*) from pgembedd.search('documents', null, mode => 'semantic', embedding => '{QUERY}'); end;
    create view found with (security_barrier = true) as
        select key, score as how_good
        from pgembedd.search('documents', null, mode => 'semantic', embedding => '{QUERY}');
    comment on view found is 'What was found.';
    comment on column found.how_good is 'How good.';
    alter view found alter how_good set default 0;
    create view best as select * from found order by how_good desc limit 1;
    create view running as select pipeline, state from pgembedd.status;
    create view waiting as select s.* from pgembedd.row_status('documents', array['1', '2']::jsonb[]) s;
    create table notes (id int primary key, wait interval default pgembedd_internal._backoff(1));
    alter table notes enable row level security;
    create policy seen on notes for select using (exists (
        select from pgembedd.row_status('documents', array[to_jsonb(id)]) p where p.status = 'embedded'));
    create policy added on notes for insert with check (pgembedd_internal._backoff(id) > interval '0');
    create rule also as on delete to notes do also select pgembedd_internal._backoff(old.id);
"""
MADE = """
    select n.nspname || '.' || p.proname, pg_get_functiondef(p.oid), p.proowner::regrole::text, p.proacl::text
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('api', 'mine')
    union all
    select c.oid::regclass::text, c.relkind::text || pg_get_viewdef(c.oid), c.relowner::regrole::text, concat_ws(E'\\n',
        c.relacl, c.reloptions, obj_description(c.oid, 'pg_class'), (select string_agg(concat_ws(' ', a.attname,
            a.attacl, col_description(a.attrelid, a.attnum), pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
            from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where a.attrelid = c.oid))
    from pg_class c where c.relnamespace = 'mine'::regnamespace and c.relkind in ('v', 'r')
    union all
    select p.polname, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), p.polcmd::text
    from pg_policy p where p.polrelid = 'mine.notes'::regclass
    union all
    select r.rulename, pg_get_ruledef(r.oid), '', '' from pg_rewrite r where r.ev_class = 'mine.notes'::regclass
    order by 1, 2
"""


def use(connection: psycopg.Connection, user: str, web: str) -> None:
    """What the user made in the schema `mine`, and our functions in the schema `api`."""
    connection.execute(
        f"grant usage on schema pgembedd, pgembedd_internal to {user}; grant select on documents to {user}, {web}"
    )
    connection.execute(f"select pgembedd.grant_operator('{user}'), pgembedd.grant_search('{web}')")
    connection.execute(f"grant select on pgembedd.status to {user} with grant option")
    connection.execute(f"grant execute on all functions in schema pgembedd, pgembedd_internal to {user}")
    connection.execute(f"create schema api; create schema mine authorization {user}")
    connection.execute("select pgembedd.expose_search('api')")
    connection.execute(
        f"grant usage on schema api to {web}; revoke execute on function api.search from public;"
        f"grant execute on function api.search to {web} with grant option;"
        "create view mine.exposed as select e.key from api.search('documents', 'title', mode => 'text') e"
    )
    with connection.transaction():
        connection.execute(f"set local role {user}; set local search_path to mine, public")
        connection.execute(USED)
        connection.execute(f"grant select on best to {web} with grant option; grant select (key) on found to {web}")


@pytest.mark.slow
def test_what_users_made_follows(roles: Roles, database: Database, connection: psycopg.Connection) -> None:
    user, web = roles.make("user"), roles.make("web")
    make_source(connection, 3)
    age(connection, "another parameter")
    use(connection, user, web)
    made = rows(connection, MADE)
    migrate(database.conninfo)
    now = rows(connection, MADE)
    assert [row for row in now if not row[0].startswith("api.")] == [
        row for row in made if not row[0].startswith("api.")
    ]
    assert len([row for row in made if row not in now]) == 3  # the functions in `api`, with this version's parameters
    assert "older text" not in str(now)
    assert rows(connection, "select state from mine.running") == [("running",)]
    assert len(rows(connection, "select key from mine.exposed")) == 3
    with connect_as(database, user) as connected:
        assert len(rows(connected, "select key from mine.found")) == 3
        assert value(connected, "select mine.pgembedd_search_test()") == 3
        assert column(connected, "select status from mine.waiting") == ["embedded", "embedded"]
        connected.execute("insert into mine.notes values (1)")
        assert value(connected, "select count(*) from mine.notes") == 1
    with connect_as(database, web) as asking:
        assert column(asking, "select key from api.search('documents', 'title', mode => 'text', k => 1)") != []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            asking.execute("select how_good from mine.found")
    with connect_as(database, user) as asking, pytest.raises(psycopg.errors.InsufficientPrivilege):
        asking.execute("select api.search('documents', 'title')")
    once = rows(connection, MADE)
    connection.execute("select pgembedd.expose_search('api')")
    assert rows(connection, MADE) == once


@pytest.mark.slow
def test_revisions_of_users_run_before_and_after(
    project: Project, database: Database, connection: psycopg.Connection
) -> None:
    """op.create_embedding_pipeline() of the page's project, and a plain call with positions."""
    age(connection, "another parameter")
    project.run("upgrade", "head")
    migrate(database.conninfo)
    assert state(connection) == "running"
    project.run("downgrade", "base")
    project.run("upgrade", "head")
    connection.execute("create table plain (id int primary key, body text)")
    connection.execute("select pgembedd.create_pipeline('plain', 'plain', array['body'])")
    assert column(connection, "select pipeline from pgembedd.status order by 1") == ["documents", "plain"]


# What cannot be bound again, by what the sentence says of it.
IN_THE_WAY = {
    "materialized view mine.seen stands on pgembedd_internal._backoff(": "create materialized view seen as {wait}",
    "constraint checked_check on table mine.checked": "create table checked (n int check (({wait}) > '0'))",
    "column name of table mine.made": "create table made (name text generated always as ({code}) stored)",
    "index mine.by_code stands on": "create table coded (n int); create index by_code on coded ({code})",
    "column one of table mine.typed stands on pgembedd.no_more": "create table typed (one pgembedd.no_more)",
    "view mine.other stands on pgembedd.no_more;": "create view other as select * from pgembedd.no_more",
    "function mine.of_it() stands": "create function of_it() returns setof pgembedd.no_more language sql as 'select 1'",
    "view mine.short stands on pgembedd.truncated (cannot change data type": (
        "create view short as select dropped_tokens from pgembedd.truncated"
    ),
    "constraint waiting_check": "create domain waiting as interval check (value <> ({wait}))",
    "view mine.swapped stands on pgembedd.history(": (
        "create view swapped as select h.odd from pgembedd.history('documents', '1 h') h"
    ),
}


@pytest.mark.slow
def test_the_sentence_names_all_that_is_in_the_way_and_nothing_is_changed(
    database: Database, connection: psycopg.Connection
) -> None:
    make_source(connection, 3)
    age(connection, "another parameter")
    connection.execute(GONE)
    # A function that has other columns, to which the first ones of the old one would not fit.
    connection.execute("""
        drop function pgembedd.history(text, interval, interval, text);
        create function pgembedd.history(name text, since interval) returns table (pipeline text, odd timestamptz)
            language sql as 'select null, now()';
        drop view pgembedd.truncated;
        create view pgembedd.truncated as select 'documents'::text as pipeline, ''::text as dropped_tokens;
        create schema mine; set search_path to mine, public
    """)
    calls = {"wait": "pgembedd_internal._backoff(1)", "code": "pgembedd_internal._pipeline_function(1, 'read')"}
    for statement in IN_THE_WAY.values():
        connection.execute(statement.format(**calls).replace("as pgembedd", "as select pgembedd").encode())
    before = catalog(connection)
    with pytest.raises(ConfigurationError) as caught:
        migrate(database.conninfo)
    said = str(caught.value)
    assert "\n" not in said
    assert [part for part in IN_THE_WAY if part not in said] == []
    assert said.endswith("this version has others, so drop what stands on them, migrate, and create it again.")
    assert differences(before, catalog(connection)) == {}
    connection.execute("drop schema mine cascade")
    migrate(database.conninfo)
