-- name: our_definitions
-- The routines and views of the schema, and the functions that expose_search() made elsewhere: kind, oid, schema, name.
-- What belongs to an extension is not ours, and what is a pipeline's code (72_search/kept.sql) is in no file of sql/.
-- Of the functions elsewhere those that this role may replace; another role could give its own the comment, so only
-- those of our owner or of a superuser.
select o.* from (
    select 'routine' as kind, p.oid, n.nspname::text, p.proname::text
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('pgembedd', 'pgembedd_internal') and p.proname !~ '^_search_[0-9]+_'
       or pg_catalog.obj_description(p.oid, 'pg_proc') = 'Made by pgembedd.expose_search().'
          and pg_catalog.pg_has_role(p.proowner, 'usage') and pg_catalog.has_schema_privilege(n.oid, 'create')
          and p.proowner in (select s.nspowner from pg_catalog.pg_namespace s where s.nspname = 'pgembedd'
                             union select r.oid from pg_catalog.pg_roles r where r.rolsuper)
    union all
    select 'view', c.oid, n.nspname::text, c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pgembedd', 'pgembedd_internal') and c.relkind = 'v') o
where not exists (
    select from pg_catalog.pg_depend d
    where d.classid = case o.kind when 'view' then 'pg_catalog.pg_class'::regclass
                                  else 'pg_catalog.pg_proc'::regclass end
      and d.objid = o.oid and d.deptype = 'e')

-- name: grants_on_definitions
-- What is granted on them: schema, name, column, privilege, role, with grant option. By name, as a definition of other
-- parameters takes the place of one.
select n.nspname::text, o.name::text, o.part::text, a.privilege_type,
       case a.grantee when 0 then 'public' else a.grantee::regrole::text end, a.is_grantable
from (select p.pronamespace as schema, p.proname as name, null as part, p.proowner as owner,
             coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) as acl
      from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
      union all
      select c.relnamespace, c.relname, null, c.relowner, c.relacl from pg_catalog.pg_class c
      where c.oid = any (%(views)s)
      union all
      select c.relnamespace, c.relname, t.attname, c.relowner, t.attacl
      from pg_catalog.pg_class c join pg_catalog.pg_attribute t on t.attrelid = c.oid
      where c.oid = any (%(views)s)) o
join pg_catalog.pg_namespace n on n.oid = o.schema
cross join pg_catalog.aclexplode(o.acl) a
where a.grantee <> o.owner

-- name: set_definitions_aside
-- The statements that give them other names, under which all that was bound to them still finds them.
select pg_catalog.format('alter routine %%s rename to %%I;', p.oid::regprocedure, p.proname || '__old')
from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
union all
select pg_catalog.format('alter view %%s rename to %%I;', c.oid::regclass, c.relname || '__old')
from pg_catalog.pg_class c where c.oid = any (%(views)s)

-- name: superseded_definitions
-- Of definitions that are set aside: which CREATE OR REPLACE would not replace by the present ones, and whether one
-- takes their place to which what was bound to them can be bound: parameters and columns were only added or removed at
-- the end.
with routine as (
    select p.oid, p.pronamespace, p.proname, p.prokind, p.proretset, p.provariadic, p.pronargdefaults,
           array(select concat(a.name, ' ', pg_catalog.format_type(a.type, null))
                 from unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) with ordinality as a(name, type, nth)
                 where a.nth <= p.pronargs order by a.nth) as inputs,
           array(select concat(a.mode, a.name, ' ', pg_catalog.format_type(a.type, null))
                 from unnest(p.proargnames, p.proallargtypes, p.proargmodes) with ordinality as a(name, type, mode, nth)
                 where a.mode in ('o', 'b', 't') order by a.nth) as outputs,
           pg_catalog.format_type(p.prorettype, null) as result
    from pg_catalog.pg_proc p
), relation as (
    select c.oid, c.relnamespace, c.relname, c.relkind,
           array(select pg_catalog.format('%%I %%s %%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                                          a.attcollation)
                 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns
    from pg_catalog.pg_class c
)
select 'routine', o.oid, exists (
    select from routine n
    where n.pronamespace = o.pronamespace and n.proname || '__old' = o.proname and n.result = o.result
      and n.proretset = o.proretset and n.outputs[:cardinality(o.outputs)] = o.outputs
      and (n.inputs[:cardinality(o.inputs)] = o.inputs or o.inputs[:cardinality(n.inputs)] = n.inputs))
from routine o
where o.oid = any (%(routines)s) and not exists (
    select from routine n
    where n.pronamespace = o.pronamespace and n.proname || '__old' = o.proname
      and n.pronargdefaults >= o.pronargdefaults
      and (n.inputs, n.outputs, n.result, n.proretset, n.provariadic, n.prokind)
          = (o.inputs, o.outputs, o.result, o.proretset, o.provariadic, o.prokind))
union all
select 'view', o.oid, exists (select from relation n
                              where n.relnamespace = o.relnamespace and n.relname || '__old' = o.relname)
from relation o
where o.oid = any (%(views)s) and not exists (
    select from relation n
    where n.relnamespace = o.relnamespace and n.relname || '__old' = o.relname and n.relkind = o.relkind
      and n.columns[:cardinality(o.columns)] = o.columns)

-- name: bound_to_definitions
-- What was bound to these definitions when it was made, but is not among them: its catalog, oid and part, its name,
-- theirs, and the statement that binds it again by the same text; null where there is none, or where one of them is
-- unfollowed.
with definition as (
    select 'pg_catalog.pg_proc'::regclass::oid as class, p.oid, p.oid::regprocedure::text as name
    from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
    union all
    select 'pg_catalog.pg_class'::regclass, c.oid, c.oid::regclass::text
    from pg_catalog.pg_class c where c.oid = any (%(views)s)
), part as (  -- of a view the types of its row, too
    select o.oid as whole, o.class, o.oid, o.name from definition o
    union all
    select o.oid, 'pg_catalog.pg_type'::regclass, t.oid, o.name
    from definition o join pg_catalog.pg_type r on r.typrelid = o.oid and o.class = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_type t on t.oid in (r.oid, r.typarray)
), bound as (
    select d.classid, d.objid, d.objsubid, string_agg(distinct p.name, ', ') as names,
           bool_or(p.whole = any (%(unfollowed)s)) as unfollowed
    from part p join pg_catalog.pg_depend d on d.refclassid = p.class and d.refobjid = p.oid
    where d.deptype in ('n', 'a') and not exists (
        select from part o where o.class = d.classid and o.oid = d.objid)
    group by d.classid, d.objid, d.objsubid
)
select b.classid, b.objid, b.objsubid,
       case when r.rulename = '_RETURN' then pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, v.oid, 0)
            else pg_catalog.pg_describe_object(b.classid, b.objid, b.objsubid) end,
       b.names, case when not b.unfollowed then case
           when r.rulename = '_RETURN' and v.relkind = 'v' then pg_catalog.format(
               'create or replace view %%s %%s as %%s', v.oid::regclass,
               'with (' || array_to_string(v.reloptions, ', ') || ')', pg_catalog.pg_get_viewdef(v.oid))
           when r.rulename <> '_RETURN' then 'create or replace ' || substr(pg_catalog.pg_get_ruledef(r.oid), 8)
           when p.oid is not null then pg_catalog.format('alter policy %%I on %%s %%s %%s', p.polname,
               p.polrelid::regclass, 'using (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
               'with check (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
           when a.attgenerated = '' then pg_catalog.format('alter table only %%s alter %%I set default %%s',
               e.adrelid::regclass, a.attname, pg_catalog.pg_get_expr(e.adbin, e.adrelid))
           when f.prokind in ('f', 'p') then pg_catalog.pg_get_functiondef(f.oid) end end
from bound b
left join pg_catalog.pg_rewrite r on b.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = b.objid
left join pg_catalog.pg_class v on v.oid = r.ev_class
left join pg_catalog.pg_policy p on b.classid = 'pg_catalog.pg_policy'::regclass and p.oid = b.objid
left join pg_catalog.pg_attrdef e on b.classid = 'pg_catalog.pg_attrdef'::regclass and e.oid = b.objid
left join pg_catalog.pg_attribute a on a.attrelid = e.adrelid and a.attnum = e.adnum
left join pg_catalog.pg_proc f on b.classid = 'pg_catalog.pg_proc'::regclass and f.oid = b.objid
where v.oid is null or v.oid <> all (%(views)s)
order by b.classid, b.objid, b.objsubid

-- name: drop_code_on_definitions
-- The statements that drop the functions of a pipeline's code whose parameters are of rows of these views: the repair,
-- which follows, makes them again.
select distinct pg_catalog.format('drop routine %%s;', p.oid::regprocedure)
from pg_catalog.pg_depend d join pg_catalog.pg_proc p on p.oid = d.objid
where d.classid = 'pg_catalog.pg_proc'::regclass and d.refclassid = 'pg_catalog.pg_type'::regclass
  and d.refobjid = any (array(select unnest(array[r.oid, r.typarray])
                              from pg_catalog.pg_class c join pg_catalog.pg_type r on r.oid = c.reltype
                              where c.oid = any (%(views)s)))
  and p.pronamespace = to_regnamespace('pgembedd_internal') and p.proname ~ '^_search_[0-9]+_'

-- name: drop_definitions
-- The statements that drop them.
select pg_catalog.format('drop view %%s', c.oid::regclass) from pg_catalog.pg_class c where c.oid = any (%(views)s)
union all
select pg_catalog.format('drop routine %%s', p.oid::regprocedure) from pg_catalog.pg_proc p
where p.oid = any (%(routines)s)

-- name: clear_comments
-- The statements that take the comments from our routines and views: this version writes its own.
select pg_catalog.format('comment on routine %%s is null;', p.oid::regprocedure) from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_proc'::regclass and d.objoid = p.oid
where n.nspname in ('pgembedd', 'pgembedd_internal') and p.oid = any (%(routines)s)
union all
select pg_catalog.format(case d.objsubid when 0 then 'comment on view %%s is null;'
                                         else 'comment on column %%s.%%I is null;' end, c.oid::regclass, a.attname)
from pg_catalog.pg_class c
join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_class'::regclass and d.objoid = c.oid
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid
where c.oid = any (%(views)s)

-- name: own_definitions
-- The statements that give to the owner of the schema what another role installed, as an administrator may have done.
select pg_catalog.format('alter routine %%s owner to %%s;', p.oid::regprocedure, n.nspowner::regrole)
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.oid = any (%(routines)s) and n.nspname in ('pgembedd', 'pgembedd_internal') and p.proowner <> n.nspowner
  and p.proowner is distinct from pg_catalog.to_regrole('pgembedd')
union all
select pg_catalog.format('alter view %%s owner to %%s;', c.oid::regclass, n.nspowner::regrole)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = any (%(views)s) and c.relowner <> n.nspowner

-- name: grant_definitions
-- The statements that grant on new definitions what was granted on those of their names, in either schema of ours.
with ours as (
    select '{pgembedd,pgembedd_internal}'::text[] as schemas
), definition as (
    select 'routine' as kind, p.oid, p.proname::text as name, p.oid::regprocedure::text as identity,
           case when n.nspname = any (o.schemas) then o.schemas else array[n.nspname::text] end as schemas
    from ours o, pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.oid = any (%(routines)s)
    union all
    select 'table', c.oid, c.relname, c.oid::regclass::text, o.schemas
    from ours o, pg_catalog.pg_class c where c.oid = any (%(views)s)
), granted as (
    select * from unnest(%(schemas)s::text[], %(names)s::text[], %(parts)s::text[], %(privileges)s::text[],
                         %(roles)s::text[], %(grantables)s::boolean[])
        as g(schema, name, part, privilege, role, is_grantable)
)
select pg_catalog.format('revoke all on routine %%s from public;', d.identity) from definition d
where d.kind = 'routine' and exists (select from granted g where g.name = d.name and g.schema = any (d.schemas))
union all
select pg_catalog.format('grant %%s %%s on %%s %%s to %%s %%s;', g.privilege, '(' || quote_ident(g.part) || ')', d.kind,
                         d.identity, g.role, case when g.is_grantable then 'with grant option' end)
from definition d join granted g on g.name = d.name and g.schema = any (d.schemas)
where (g.privilege = 'EXECUTE') = (d.kind = 'routine')  -- a view may have the name of a routine
  and (g.part is null or exists (
      select from pg_catalog.pg_attribute a where a.attrelid = d.oid and a.attname = g.part))
