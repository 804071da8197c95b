-- name: add_models
-- The built-in models, of which SQL knows what stands here.
insert into pgembedd_internal.model
select m.* from pg_catalog.jsonb_populate_recordset(null::pgembedd_internal.model, %(models)s) m

-- name: sweep_migrated
-- Rows that lost their jobs, as in a restore; the upkeep goes on.
select pgembedd.sweep(within_s => 600)

-- name: foreign_owner
-- What in these schemas belongs to a role that this one does not trust, and that role; then the schemas that are
-- missing, in the same snapshot, as any role could have made and dropped one between two statements. Trusted are the
-- role itself, the roles that others made it a member of, superusers, the database's owner, the members of the role
-- pgembedd. A superuser trusts neither members nor what it is a member of: it did not ask for either.
with recursive mine(oid, super) as (
    select r.oid, r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user
    union select m.roleid, false from mine join pg_catalog.pg_auth_members m on m.member = mine.oid
    where not mine.super and m.grantor <> m.roleid),
trusted(oid) as (
    select oid from mine
    union all select r.oid from pg_catalog.pg_roles r where r.rolsuper or r.rolname = 'pg_database_owner'
    union all select d.datdba from pg_catalog.pg_database d where d.datname = current_database()
    union all select m.member from pg_catalog.pg_auth_members m
    where m.roleid = to_regrole('pgembedd') and not exists (select from mine where super)),
schema(oid, owner, name) as (
    select n.oid, n.nspowner, n.nspname from pg_catalog.pg_namespace n where n.nspname = any (%(schemas)s::name[])),
item(classid, oid, owner) as (
    select 'pg_proc'::regclass, f.oid, f.proowner from schema s
    join pg_catalog.pg_proc f on f.pronamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal', 'pgmq')
    union all select 'pg_class'::regclass, c.oid, c.relowner from schema s
    join pg_catalog.pg_class c on c.relnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal')
    union all select 'pg_type'::regclass, t.oid, t.typowner from schema s
    join pg_catalog.pg_type t on t.typnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal')
    union all select 'pg_operator'::regclass, o.oid, o.oprowner from schema s
    join pg_catalog.pg_operator o on o.oprnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal'))
select pg_describe_object('pg_namespace'::regclass, s.oid, 0), s.owner::regrole::text
from schema s where s.owner not in (select oid from trusted)
union all (
    select pg_describe_object(i.classid, i.oid, 0), i.owner::regrole::text from item i
    where i.owner not in (select oid from trusted) and i.owner is distinct from to_regrole('pgembedd')::oid limit 1)
union all select m.name, null from unnest(%(schemas)s::name[]) as m(name) where m.name not in (select name from schema)

-- name: limit_waits
-- For this transaction. Of two that wait for each other the migration gives way: it looks for that at once, where it
-- may.
select set_config('lock_timeout', %(lock_timeout)s, true),
       case when (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
            then set_config('deadlock_timeout', '10ms', true) end

-- name: lock_relations
-- Statements that lock the tables with our triggers against writers, then our views, then our tables, these alone: LOCK
-- on a view would lock what others own in it. A writer that has begun goes on with the functions that it found, which
-- name what is renamed; one that waits for its table finds the new ones.
select s.statement from (
    select 1, c.oid, format('lock table %s in share row exclusive mode;', c.oid::regclass)
    from pg_catalog.pg_class c
    where has_table_privilege(c.oid, 'update, delete, truncate') and exists (
        select from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = c.oid and t.tgparentid = 0 and p.pronamespace = to_regnamespace('pgembedd_code'))
    union all
    select case c.relkind when 'v' then 2 else 3 end, c.oid,
           format(case c.relkind when 'v' then 'alter view %1$s owner to %2$s;' else 'lock table only %1$s;' end,
                  c.oid::regclass, c.relowner::regrole)
    from pg_catalog.pg_class c
    where c.relnamespace in (to_regnamespace('pgembedd'), to_regnamespace('pgembedd_internal'))
      and c.relkind in ('v', 'r')) as s(step, relation, statement)
order by s.step, s.relation

-- name: lock_holders
-- The sessions that keep one waiting, each with its statement, without literals, where this role may read it.
select b.pid, a.usename::text, a.state, extract(epoch from clock_timestamp() - a.xact_start)::float8,
       left(regexp_replace(nullif(a.query, '<insufficient privilege>'), $$'([^']|'')*'|\m[0-9.]+\M$$, '?', 'g'), 200)
from unnest(pg_blocking_pids(%(pid)s)) as b(pid) left join pg_catalog.pg_stat_activity a on a.pid = b.pid

-- name: extension_schemas
-- Where the extensions are that we use.
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname in ('vector', 'pgmq', 'pg_net', 'pg_cron', 'dblink')

-- name: extension_versions
-- Which extensions are there, and which could be; pgmq may be there as plain SQL.
select x.name, e.extversion, a.default_version, coalesce(v.trusted, false),
       x.name = 'pgmq' and e.extname is null and exists (
           select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           where n.nspname = 'pgmq' and c.relname = 'meta')
from unnest(array['vector', 'pgmq', 'pg_cron', 'pg_net', 'dblink']) with ordinality as x(name, nth)
left join pg_catalog.pg_extension e on e.extname = x.name
left join pg_catalog.pg_available_extensions a on a.name = x.name
left join pg_catalog.pg_available_extension_versions v on v.name = x.name and v.version = a.default_version
order by x.nth

-- name: pgmq_rights
-- Whether a role may keep queues in pgmq, the version of the extension, whether it is the role's, which queues are
-- missing. A role that neither installed pgmq nor is a superuser has to be granted that.
select pg_catalog.has_schema_privilege(%(role)s::regrole, n.oid, 'usage')
       and pg_catalog.has_schema_privilege(%(role)s::regrole, n.oid, 'create')
       and coalesce((select bool_and(pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'select')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'insert')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'update')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'delete'))
                     from pg_catalog.pg_class c
                     where c.relnamespace = n.oid and c.relkind in ('r', 'p')
                       and c.relname in ('meta', 'q_pgembedd_fresh', 'q_pgembedd_backfill')), true),
       e.extversion, coalesce(pg_catalog.pg_has_role(%(role)s::regrole, e.extowner, 'usage'), false),
       array(select q.name from unnest(array['pgembedd_fresh', 'pgembedd_backfill']) as q(name)
             where not exists (select from pg_catalog.pg_class c
                               where c.relnamespace = n.oid and c.relname = 'q_' || q.name))
from pg_catalog.pg_namespace n left join pg_catalog.pg_extension e on e.extname = 'pgmq'
where n.nspname = 'pgmq'

-- name: pgmq_versions
-- The version of the extension, null where there is none, and the versions that the server offers.
select (select e.extversion from pg_catalog.pg_extension e where e.extname = 'pgmq'),
       array(select v.version from pg_catalog.pg_available_extension_versions v where v.name = 'pgmq')

-- name: pgmq_dependents
-- An object of others that depends on pgmq: dropping a schema that we filled must not drop it.
select pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
from pg_catalog.pg_depend d
left join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_catalog.pg_class c on c.oid = case when d.classid = 'pg_class'::regclass then d.objid else r.ev_class end
left join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
where coalesce(c.relnamespace, p.pronamespace) not in ('pgmq'::regnamespace, 'pg_toast'::regnamespace)
  and d.refobjid in (select oid from pg_catalog.pg_class where relnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_type where typnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_proc where pronamespace = 'pgmq'::regnamespace)
limit 1

-- name: restore_queue_indexes
-- Queues that others made stay, with the index that pgmq gives them instead of ours (sql/10_queue/index.sql).
do $$
declare
    one record;
begin
    for one in
        select x.oid::regclass as index, i.indrelid::regclass as queue
        from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
        where i.indrelid in (to_regclass('pgmq.q_pgembedd_fresh'), to_regclass('pgmq.q_pgembedd_jobs'),
                             to_regclass('pgmq.q_pgembedd_backfill'))
          and x.relname like 'q\_%\_by\_pipeline' and pg_catalog.pg_has_role(x.relowner, 'usage')
    loop
        execute pg_catalog.format('drop index %s', one.index);
        execute pg_catalog.format('create index on %s (vt)', one.queue);
    end loop;
end $$;

-- name: preloading
-- Which libraries the server loads, and where pg_cron works, as far as this role may read it: current_setting() raises
-- where it may not.
select s.name, s.setting from pg_catalog.pg_settings s
where s.name operator(pg_catalog.=) any ('{shared_preload_libraries,cron.database_name}'::pg_catalog.text[])
