"""Functions and operators in public whose parameters are exactly those of calls of ours.

In a path with public they go before the variadic and polymorphic ones of pg_catalog, wherever it stands.
"""

from __future__ import annotations

from tests.support.databases import Database
from tests.support.roles import connect_as
from tests.support.sql import value

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


def plant(database: Database, role: str) -> None:
    """Fill public as a role that may create objects in it, and nothing else."""
    with database.connect() as admin:
        admin.execute(f"grant create on schema public to {role}")
    with connect_as(database, role) as theirs:
        theirs.execute(PLANT.encode())
        assert value(theirs, "select count(*) from pg_operator where oprnamespace = 'public'::regnamespace") > 5000
        assert value(theirs, "select count(*) from pg_proc where pronamespace = 'public'::regnamespace") > 2000


def caught(database: Database) -> bool:
    """Tells that one of them was run."""
    with database.connect() as admin:
        admin.execute("set search_path = pg_catalog")
        return value(admin, "select is_called from public.caught") is not False
