"""A database as an older version of pgembedd left it: its functions had other parameters, and some are gone now.

The tables are those of this version, as migrations/versions/ is tested by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psycopg

Change = Literal["fewer parameters", "another parameter"]

_ROUTINES = r"""
    select p.oid::regprocedure::text, case p.prokind when 'p' then 'procedure' else 'function' end,
           pg_get_functiondef(p.oid), pg_get_function_arguments(p.oid),
           array(select concat_ws(' ', case when a.mode = 'b' then 'inout' end, quote_ident(a.name),
                                  format_type(a.type, null),
                                  'default ' || pg_get_function_arg_default(p.oid, a.nth::integer))
                 from unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[], p.proargmodes[:p.pronargs])
                     with ordinality as a(name, type, mode, nth) where a.type is not null order by a.nth),
           array(select format('out %I %s', a.name, format_type(a.type, null))
                 from unnest(p.proargnames, p.proallargtypes, p.proargmodes) with ordinality as a(name, type, mode, nth)
                 where a.mode = 'o' order by a.nth),
           p.proowner::regrole::text,
           array(select concat('to ', a.grantee::regrole, case when a.is_grantable then ' with grant option' end)
                 from aclexplode(p.proacl) a where a.grantee <> p.proowner),
           exists (select from pg_depend d join pg_rewrite r on r.oid = d.objid
                   where d.classid = 'pg_rewrite'::regclass and d.refobjid = p.oid)
    from pg_proc p
    where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)
        and p.proname not in ('_subject', '_is_readable_source')
"""
_VIEWS = r"""
    select c.oid::regclass::text, pg_get_viewdef(c.oid), c.relowner::regrole::text, array_to_string(c.reloptions, ', '),
           array(select format('%s%s to %s%s', a.privilege_type, a.part, coalesce(nullif(a.grantee, 0)::regrole::text,
                               'public'), case when a.is_grantable then ' with grant option' end)
                 from (select x.*, ' on ' || c.oid::regclass as part from aclexplode(c.relacl) x
                       union all select x.*, format('(%I) on %s', a.attname, c.oid::regclass)
                       from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid) a
                 where a.grantee <> c.relowner)
    from pg_class c join pg_type t on t.oid = c.reltype
    where c.relnamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace) and c.relkind = 'v'
      -- Without those whose rows are parameters, which no older version has.
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
                      and d.refclassid = 'pg_type'::regclass and d.refobjid in (t.oid, t.typarray))
    order by c.oid
"""
# Policies that call a function: it is set aside, so that the same words find the one that is made in its place.
_SUBJECT = """
    do $$
    declare
        item record;
    begin
        alter function pgembedd_internal._subject() rename to _subject_aside;
        create function pgembedd_internal._subject(older text default null) returns text language sql as 'select older';
        for item in
            select format('alter policy %I on %s %s %s', polname, polrelid::regclass,
                          'using (' || pg_get_expr(polqual, polrelid) || ')',
                          'with check (' || pg_get_expr(polwithcheck, polrelid) || ')') as statement
            from pg_policy
        loop
            execute replace(item.statement, '_subject_aside()', '_subject()');
        end loop;
        execute format('alter function pgembedd_internal._subject(text) owner to %s',
            (select proowner::regrole from pg_proc where proname = '_subject_aside'));
        drop function pgembedd_internal._subject_aside();
    end $$
"""
# Parts that are no more, and generated code of another shape.
GONE = """
    create function pgembedd_internal._no_more(a integer, b integer) returns integer language sql as 'select a + b';
    create procedure pgembedd.no_more(a integer) language sql as 'select 1';
    create view pgembedd.no_more as select pgembedd_internal._no_more(1, 2) as three;
    create function pgembedd_internal._of_no_more() returns setof pgembedd.no_more language sql begin atomic
        select * from pgembedd.no_more; end;
    comment on function pgembedd_internal.claim is 'A comment of that time.';
    comment on column pgembedd.dead_letters.reason is 'Another one.';
    grant select on pgembedd_internal.push to pgembedd;
    grant execute on function pgembedd.pause to pgembedd;
    create function pgembedd_code.pipeline_1_read(ids jsonb[], older text default null) returns int
        language sql as 'select 1';
    drop function pgembedd_code.pipeline_1_gone(jsonb[]);
    create function pgembedd_code.pipeline_1_gone(keys jsonb[]) returns int language sql as 'select 1';
    create function pgembedd_code.pipeline_1_no_more() returns trigger language plpgsql as 'begin return null; end';
    create function pgembedd_code.pipeline_9_read(ids jsonb[]) returns int language sql as 'select 1';
    create trigger pgembedd_1_no_more after insert on documents execute function pgembedd_code.pipeline_1_no_more();
    create trigger pgembedd_1_row after delete on documents for each row
        execute function pgembedd_code.pipeline_1_on_insert();
    create or replace trigger pgembedd_1_insert after insert on documents
        execute function pgembedd_code.pipeline_1_on_insert();
"""


@dataclass(frozen=True)
class _Routine:
    identity: str
    kind: str
    definition: str
    arguments: str
    parameters: list[str]
    outputs: list[str]
    owner: str
    granted: list[str]
    in_view: bool

    def older(self, change: Change) -> str | None:
        """The definition with one parameter less or more; None where there is no such."""
        if len(self.parameters) < 2:
            return None
        added = ["older text default null"]
        parameters = self.parameters[:-1] if change == "fewer parameters" else self.parameters + added
        return self.definition.replace(f"({self.arguments})", f"({', '.join(parameters + self.outputs)})", 1)


def age(connection: psycopg.Connection, change: Change) -> None:
    """Puts older functions in the place of ours, with views that were bound to them, and what was granted on them."""
    with connection.transaction():
        connection.execute("set local search_path to pg_catalog, pg_temp; set local check_function_bodies to off")
        routines, views = _routines(connection), connection.execute(_VIEWS).fetchall()
        written = "".join(routine.definition for routine in routines).replace(
            ", ", ","
        )  # a body may name a function by its signature
        replaced = [
            routine
            for routine in routines
            if routine.older(change)
            and not (routine.in_view and change == "fewer parameters")
            and f"'{routine.identity}'" not in written
        ]
        assert len(replaced) > 200
        script = ["drop view " + ", ".join(view for view, *_ in views)]
        script += [f"drop {routine.kind} {routine.identity}" for routine in replaced]
        connection.execute("; ".join(script).encode())
        for routine in replaced:
            before = _identities(connection)
            connection.execute((routine.older(change) or "").encode())
            (identity,) = _identities(connection) - before
            script = [f"revoke all on routine {identity} from public"]
            script += [f"grant execute on routine {identity} {one}" for one in routine.granted]
            script += [f"alter routine {identity} owner to {routine.owner}"]
            connection.execute("; ".join(script).encode())
        if change == "another parameter":
            connection.execute(_SUBJECT)
        for view, definition, owner, options, granted in views:
            made = f"create view {view} {f'with ({options})' if options else ''} as {definition}"
            connection.execute(f"{made}; alter view {view} owner to {owner}".encode())
            connection.execute("; ".join(f"grant {one}" for one in granted).encode())


def add_overloads(connection: psycopg.Connection) -> int:
    """Adds next to each function those of other parameters, as an upgrade left them; returns how many."""
    made = 0
    with connection.transaction():
        connection.execute("set local search_path to pg_catalog, pg_temp; set local check_function_bodies to off")
        for routine in _routines(connection):
            for change in ("fewer parameters", "another parameter"):
                definition = routine.older(change)
                if definition is None:
                    continue
                before = _identities(connection)
                try:
                    with connection.transaction():
                        connection.execute(definition.replace("CREATE OR REPLACE", "CREATE", 1).encode())
                except psycopg.errors.DuplicateFunction:
                    continue  # this version has one of these parameters
                made += len(_identities(connection) - before)
    return made


def _routines(connection: psycopg.Connection) -> list[_Routine]:
    return [_Routine(*row) for row in connection.execute(_ROUTINES).fetchall()]


def _identities(connection: psycopg.Connection) -> set[str]:
    found = connection.execute(
        "select oid::regprocedure::text from pg_proc "
        "where pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)"
    )
    return {identity for (identity,) in found}
