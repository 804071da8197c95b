"""No name of ours is looked up in a schema that other roles can fill: not while migrating, not in what is bound then.

A view, a default, an index, a policy and a SQL-standard body are bound when they are made. A function or operator whose
parameters are exactly those of a call goes before a variadic or polymorphic one of pg_catalog, wherever it is.
"""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.migrate import downgrade, migrate
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import column, create_pipeline, make_documents, rows, value

TYPES = (
    "text, name, oid, regclass, regtype, regprocedure, regnamespace, regrole, integer, bigint, smallint, boolean, uuid,"
    ' jsonb, json, timestamptz, interval, "char", bytea, numeric, double precision, text[], name[], oid[], int2vector,'
    " oidvector"
)
ARRAYS, VALUES = "{anyarray,anycompatiblearray}", "{anyelement,anycompatible,pg_catalog.any,anynonarray}"
OPERATORS = "= <> < > <= >= || ~ !~ ~~ !~~ -> ->> ? & + - @> <@ &&"

# The trap is a sequence: what it has counted outlives the transaction that fails because of what was planted.
PLANT = f"""
    set search_path = pg_catalog;
    create sequence public.caught;
    grant all on sequence public.caught to public;
    create procedure public.plant(name text, arguments regtype[], result text) language plpgsql as $$
    begin
        execute format('create function public.%I(%s) returns %s language plpgsql as %L', name,
                       array_to_string(arguments, ','), result,
                       'begin perform pg_catalog.nextval(''public.caught''); return'
                       || case when result like 'setof %' then '' else ' null' end || '; end');
    exception when others then null;  -- pg_catalog's own are no matter: they come first
    end $$;
    do $do$
    declare
        types regtype[] := string_to_array('{TYPES}', ',')::regtype[];
        l regtype;
        r regtype;
        one record;
    begin
        foreach l in array types loop
            foreach r in array types loop
                for one in
                    select distinct on (o.oprname) o.oprname, o.oprresult::regtype as result from pg_operator o
                    where o.oprname = any (string_to_array('{OPERATORS}', ' ')) and o.oprright <> 0 and o.oprleft <> 0
                      and not exists (select from pg_operator x where x.oprnamespace = 'pg_catalog'::regnamespace
                                      and x.oprname = o.oprname and x.oprleft = l and x.oprright = r)
                    order by o.oprname, o.oprresult = l desc, o.oprresult
                loop
                    call public.plant('op_' || one.result::oid, array[l, r], one.result::text);
                    execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.%I)',
                                   one.oprname, l, r, 'op_' || one.result::oid);
                end loop;
                call public.plant('format', array['text', l, r]::regtype[], 'text');
                call public.plant('concat', array[l, r], 'text');
                call public.plant('jsonb_build_object', array['text', l, 'text', r]::regtype[], 'jsonb');
            end loop;
            for one in  -- what takes a value, or an array, of any type
                select distinct p.proname::text as name, array(
                           select case when a = any ('{ARRAYS}'::regtype[])
                                       then coalesce(nullif((select t.typarray from pg_type t where t.oid = l), 0), l)
                                       when a = any ('{VALUES}'::regtype[]) then l
                                       else a end
                           from unnest(p.proargtypes::regtype[]) with ordinality as u(a, nth) order by nth)::regtype[]
                           as arguments,
                       case when p.proretset then 'setof ' else '' end
                       || case when p.prorettype = any ('{VALUES}'::regtype[]) then l
                               when p.prorettype = any ('{ARRAYS}'::regtype[])
                               then coalesce(nullif((select t.typarray from pg_type t where t.oid = l), 0), l)::regtype
                               else p.prorettype::regtype end as result
                from pg_proc p
                where p.pronamespace = 'pg_catalog'::regnamespace and p.prorettype <> 'internal'::regtype
                  and p.proargtypes::regtype[] && ('{ARRAYS}'::regtype[] || '{VALUES}'::regtype[])
            loop
                call public.plant(one.name, one.arguments, one.result);
            end loop;
        end loop;
    end $do$;
"""

# What our schemas and what is made beside them depend on, but for what is Postgres's own, ours, or an extension's.
FOREIGN = """
    with ours(oid) as (select unnest(array['pgembedd', 'pgembedd_code', 'pgmq']::regnamespace[])),
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
      and not exists (select from pg_depend x where x.classid = d.refclassid and x.objid = d.refobjid
                      and x.deptype = 'e')
"""


def plant(database: Database, role: str) -> None:
    """Fill public as a role that may create objects in it, and nothing else."""
    with database.connect() as admin:
        admin.execute(f"grant create on schema public to {role}")
    with connect_as(database, role) as theirs:
        theirs.execute(PLANT.encode())
        assert value(theirs, "select count(*) from pg_operator where oprnamespace = 'public'::regnamespace") > 5000
        assert value(theirs, "select count(*) from pg_proc where pronamespace = 'public'::regnamespace") > 2000


def foreign(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return rows(connection, FOREIGN)


@pytest.mark.slow
def test_what_is_planted_before_a_superuser_migrates_is_not_run_and_not_bound(
    roles: Roles, empty_database: Database
) -> None:
    with empty_database.connect() as admin:
        plant(empty_database, roles.make("planter"))
        admin.execute("set search_path = pg_catalog")
        assert column(admin, "select is_called from public.caught") == [False]
        migrate(empty_database.conninfo)
        migrate(empty_database.conninfo)
        assert foreign(admin) == []
        assert column(admin, "select is_called from public.caught") == [False]
        downgrade(empty_database.conninfo)
        assert column(admin, "select is_called from public.caught") == [False]


@pytest.mark.slow
def test_what_an_older_version_was_bound_to_is_bound_anew(database: Database, connection: psycopg.Connection) -> None:
    connection.execute("create function public.planted() returns boolean language sql as 'select true'")
    definition = str(value(connection, "select pg_get_viewdef('pgembedd.failures'::regclass)")).rstrip(";")
    bound = f"create or replace view pgembedd.failures as select * from ({definition}) v where public.planted()"
    connection.execute(bound.encode())
    assert foreign(connection) != []
    migrate(database.conninfo)
    assert foreign(connection) == []


def test_nothing_of_ours_depends_on_what_is_in_no_schema_of_ours(connection: psycopg.Connection) -> None:
    make_documents(connection, 1)
    create_pipeline(connection, embedding_table="chunks", create_index=True)
    assert foreign(connection) == []


def test_the_look_at_dependencies_sees_them(connection: psycopg.Connection) -> None:
    connection.execute(
        """create function public.planted(text) returns text immutable language sql as 'select $1';
           create view pgembedd.bound as select public.planted('x');
           create index on pgembedd.event (public.planted(xid));
           create policy bound on pgembedd.answer using (public.planted('x') = 'x');
           alter table pgembedd.event alter xid set default public.planted('x');
           create function pgembedd.bound() returns text begin atomic select public.planted('x'); end"""
    )
    found = [dependent.split()[0] for dependent, what in foreign(connection) if "planted" in what]
    assert sorted(found) == ["default", "function", "index", "policy", "rule"]
