"""No name of ours is looked up in a schema that other roles can fill: not while migrating, not in what is bound then.

A view, a default, an index, a policy and a SQL-standard body are bound when they are made. A function or operator whose
parameters are exactly those of a call goes before a variadic or polymorphic one of pg_catalog, wherever it is.
"""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.databases import Database
from tests.support.planted import caught, plant
from tests.support.roles import Roles
from tests.support.sql import create_pipeline, make_documents, rows, value

# What our schemas and what is made next to them depend on, but for what is Postgres's own, ours, or an extension's.
FOREIGN = """
    with ours(oid) as (select unnest(array['pgembedd', 'pgembedd_internal', 'pgembedd_code', 'pgmq']::regnamespace[])),
    dependent as (
        select d.classid, d.objid, d.refclassid, d.refobjid from pg_depend d where d.deptype in ('n', 'a', 'i'))
    select distinct pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0)
    from dependent d
    cross join lateral pg_identify_object(d.classid, d.objid, 0) i
    left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
    left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
    left join pg_policy y on d.classid = 'pg_policy'::regclass and y.oid = d.objid
    left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
    left join pg_class c on c.oid = coalesce(w.ev_class, f.adrelid, y.polrelid, k.conrelid)
    left join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
    left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    left join pg_collation l on d.refclassid = 'pg_collation'::regclass and l.oid = d.refobjid
    left join pg_opclass oc on d.refclassid = 'pg_opclass'::regclass and oc.oid = d.refobjid
    left join pg_ts_config s on d.refclassid = 'pg_ts_config'::regclass and s.oid = d.refobjid
    left join pg_ts_dict e on d.refclassid = 'pg_ts_dict'::regclass and e.oid = d.refobjid
    where (to_regnamespace(i.schema) in (select oid from ours) or c.relnamespace in (select oid from ours))
      and coalesce(p.pronamespace, o.oprnamespace, t.typnamespace, l.collnamespace, oc.opcnamespace, s.cfgnamespace,
                   e.dictnamespace) not in (select oid from ours union all select 'pg_catalog'::regnamespace)
      -- In older versions the array of an extension's type belongs to that type alone.
      and not exists (select from pg_depend x where x.classid = d.refclassid and x.objid in (d.refobjid, t.typelem)
                      and x.deptype = 'e')
"""


def foreign(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return rows(connection, FOREIGN)


@pytest.mark.slow
def test_what_is_planted_before_a_superuser_migrates_is_not_run_and_not_bound(
    roles: Roles, empty_database: Database
) -> None:
    with empty_database.connect() as admin:
        plant(empty_database, roles.make("planter"))
        admin.execute("set search_path = pg_catalog")
        migrate(empty_database.conninfo)
        migrate(empty_database.conninfo)
        assert foreign(admin) == []
        assert not caught(empty_database)
        downgrade(empty_database.conninfo)
        assert not caught(empty_database)


@pytest.mark.slow
def test_what_an_older_version_was_bound_to_is_bound_again(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("create function public.planted() returns boolean language sql as 'select true'")
    definition = str(value(connection, "select pg_get_viewdef('pgembedd.dead_letters'::regclass)")).rstrip(";")
    bound = f"create or replace view pgembedd.dead_letters as select * from ({definition}) v where public.planted()"
    connection.execute(bound.encode())
    assert foreign(connection) != []
    migrate(database.conninfo)
    assert foreign(connection) == []


def test_nothing_of_ours_depends_on_what_is_in_no_schema_of_ours(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks", index_type="hnsw")
    assert foreign(connection) == []


def test_the_look_at_dependencies_sees_them(connection: psycopg.Connection) -> None:
    connection.execute(
        """create function public.planted(text) returns text immutable language sql as 'select $1';
           create view pgembedd.bound as select public.planted('x');
           create index on pgembedd_internal.event (public.planted(xid));
           create policy bound on pgembedd_internal.answer using (public.planted('x') = 'x');
           alter table pgembedd_internal.event alter xid set default public.planted('x');
           create function pgembedd.bound() returns text begin atomic select public.planted('x'); end"""
    )
    found = [dependent.split()[0] for dependent, what in foreign(connection) if "planted" in what]
    assert sorted(found) == ["default", "function", "index", "policy", "rule"]
