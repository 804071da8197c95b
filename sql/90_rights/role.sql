-- The role `pgembedd`: no attributes, no login, member of no role. Our SECURITY DEFINER functions and the triggers on
-- users' tables belong to it, so that code of a table's owner which finds a way to run with our rights wins what stands
-- here, and no more. See docs/decisions/0012-a-role-without-attributes.md.

-- The role that they belong to: `pgembedd`, or the installer where that role is not to be had.
create or replace function pgembedd_internal._runner() returns regrole
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.proowner::regrole from pg_proc f
    where f.oid = 'pgembedd.tick(double precision, double precision)'::regprocedure
$$;

-- The SECURITY DEFINER functions that belong to the installer all the same, each with what it needs.
create or replace function pgembedd_internal._functions_of_installer() returns table (name text, reason text)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    values ('embed', 'reads the password of its second connection'),
           ('_follow_as_installer', 'makes functions for the owners of tables, triggers and views'),
           ('_remake_mended', 'the same'),
           ('_attach_triggers', 'makes triggers on partitions'),
           ('_open_queues', 'grants on queues that were made again'),
           ('_mirror_all_rights', 'grants on embedding tables'),
           ('_schedule_index', 'makes indexes, schedules with pg_cron'),
           ('_unschedule_indexes', 'schedules with pg_cron'),
           ('_read_push_answers', 'reads where jobs are posted, and pg_net''s answers'),
           ('_is_being_built', 'sees what other roles do')
$$;

-- Makes the role where it is missing, and the installer a member: the installer, and roles that act for it, give the
-- role its functions. Does what the caller may do, and refuses a role of that name that others have, or that can do
-- more.
create or replace function pgembedd_internal._ensure_role() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    version integer := current_setting('server_version_num');
begin
    if to_regrole('pgembedd') is null then
        begin
            create role pgembedd nologin;
        exception when duplicate_object or unique_violation then null;  -- another database of the server was as quick
        end;
    end if;
    if pg_has_role('pgembedd', 'usage') or pg_has_role('pgembedd', 'member with admin option')
        or version < 160000 and (select r.rolcreaterole from pg_roles r where r.rolname = current_user)
    then
        perform _refuse_role();
        if not _is_member_of_role(_owner_of_schema()) then
            execute format('grant pgembedd to %s %s', _owner_of_schema(),
                case when version >= 160000 then 'with inherit true, set true' end);
        end if;
    end if;
exception when insufficient_privilege then null;  -- _role_remedy() says what an administrator does then
end $$;

-- True if that member has the rights of `pgembedd` and may give functions to it.
create or replace function pgembedd_internal._is_member_of_role(member regrole) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_auth_members m join pg_roles r on r.oid = m.member cross join lateral to_jsonb(m) as j
        where m.roleid = to_regrole('pgembedd') and m.member = $1
          -- These columns are there from version 16 on; before, an attribute of the member says it.
          and coalesce((j ->> 'inherit_option')::boolean, r.rolinherit)
          and coalesce((j ->> 'set_option')::boolean, true))
$$;

-- Grants what a writer's statement needs in addition to the queues, for which it has a way around, and takes it from
-- all others.
create or replace function pgembedd_internal._grant_writers() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    grant insert on pgembedd_code.missed to pgembedd;
    grant select on pgembedd_code.worker_idle to pgembedd;
    perform _revoke_from_others('schema pgembedd_code', n.nspacl, array[n.nspowner, 'pgembedd'::regrole::oid])
    from pg_namespace n where n.nspname = 'pgembedd_code';
    perform _revoke_from_others(c.oid::regclass::text, c.relacl, array[c.relowner, 'pgembedd'::regrole::oid])
    from pg_class c where c.relnamespace = 'pgembedd_code'::regnamespace and c.relkind = 'v';
end $$;

create or replace function pgembedd_internal._grant_tables() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    grant select, insert, update, delete on row_state, dead_letter, missed, open_backfill, activity, sample, event,
        embed_request, worker, index_build, word_statistics, word_frequency, answer_thread, thread_member, answer,
        answer_source, answer_events, provider_use, provider_probe, provider_batch, fetched_file, object_listing,
        listed_object to pgembedd;
    grant truncate on embed_request to pgembedd;
    grant select on pipeline, prepared_search, _search_basis, installation, schema_revision, _figures, answer_settings,
        model to pgembedd;
end $$;

-- Grants the role what our functions need, and takes back what else another version granted. Of `pipeline` it may not
-- write what code is generated from, and of `installation` nothing but times.
create or replace function pgembedd_internal._grant_role() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item text;
begin
    revoke all on all tables in schema pgembedd, pgembedd_internal from pgembedd;
    revoke all on all sequences in schema pgembedd, pgembedd_internal from pgembedd;
    grant usage on schema pgembedd, pgembedd_internal, pgembedd_code to pgembedd;
    perform _grant_tables();
    grant update (fingerprint, state, state_reason, state_since, unserved_reason, unserved_since, unserved_at,
        unserved_tried, problem_since, index_due_at, sweep_due_at, sweep_error, content_shape, requeued_reason,
        requeued_at, slow_reason, slow_until, slow_pause, slow_ends, upkeep_after)
        on pipeline to pgembedd;
    grant select (problem) on push to pgembedd;  -- not the token
    grant update (swept_at, retained_at, indexes_at, sample_due_at) on installation to pgembedd;
    grant select, update on sequence worker_idle, upkeep_at to pgembedd;
    perform _grant_writers();
    for item in select s.schema from _schemas_of_role() s
        where has_schema_privilege(s.schema, 'usage with grant option')
          and not has_schema_privilege('pgembedd', s.schema, 'usage') loop
        execute format('grant usage on schema %s to pgembedd', item);
    end loop;
    perform _grant_queues('pgembedd'::regrole);
    -- What our functions call. Those that roles are granted by name are left out: a restore grants one function in one
    -- statement, which fails where a role is missing.
    for item in
        select format(case when c.called then 'grant execute on routine %s to pgembedd'
                                         else 'revoke all on routine %s from pgembedd' end, f.oid::regprocedure)
        from pg_proc f cross join lateral (select f.prokind = 'f' and f.proname like E'\\_%' as called) c
        where f.pronamespace = any (_schemas()) and f.proowner <> 'pgembedd'::regrole
          and c.called <> exists (select from aclexplode(f.proacl) a where a.grantee = 'pgembedd'::regrole)
    loop
        execute item;
    end loop;
end $$;

-- Not with `pgembedd` in the path: so the names are written in full.
create or replace function pgembedd_internal._give_functions() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    function record;
begin
    for function in
        select f.oid::regprocedure::text as signature,
               case when k.name is null then 'pgembedd'::regrole else pgembedd_internal._owner_of_schema() end as owner
        from pg_proc f left join pgembedd_internal._functions_of_installer() k on k.name = f.proname
        where f.pronamespace = any (pgembedd_internal._schemas()) and f.prosecdef
          and (k.name is null) <> (f.proowner = 'pgembedd'::regrole)
    loop
        perform pgembedd_internal._set_owner(function.signature, function.owner);
    end loop;
end $$;

-- Grants our queues where the caller may.
create or replace function pgembedd_internal._grant_queues(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item regclass;
begin
    for item in
        select to_regclass(_queue_table(q)) from unnest(_queues()) q
        where not _may_use(role, to_regclass(_queue_table(q)))
          and has_table_privilege(to_regclass(_queue_table(q)), 'select with grant option')
          and (not _in_extension(to_regclass(_queue_table(q))) or exists (
               select from pg_extension e where e.extname = 'pgmq' and pg_has_role(e.extowner, 'usage')))
    loop
        execute _grant_on_queue(item, role::text);
    end loop;
end $$;

-- The statements that open a queue to a role. Before 1.6, pgmq makes its queues part of the extension, which leaves
-- them out of a dump, but not what was granted on them since: so a queue is taken out of the extension for the grant.
create or replace function pgembedd_internal._grant_on_queue(queue regclass, role text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format(case when _in_extension(queue) then 'alter extension pgmq drop table %1$s; %2$s; '
                                                      'alter extension pgmq add table %1$s'
                       else '%2$s' end,
        queue, format('grant select, insert, update, delete on %s to %s', queue, role))
$$;

create or replace function pgembedd_internal._may_use(role regrole, relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select bool_and(has_table_privilege(role, relation, p)) from unnest('{select,insert,update,delete}'::text[]) p
$$;

create or replace function pgembedd_internal._in_extension(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_depend d
                   where d.classid = 'pg_class'::regclass and d.objid = relation and d.deptype = 'e')
$$;

-- For the upkeep: after `pgmq.drop_queue` and `pgmq.create` the queue is open to the installer alone.
create or replace function pgembedd_internal._open_queues() returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _grant_queues(_runner()) $$;

-- The schemas of others that it needs.
create or replace function pgembedd_internal._schemas_of_role() returns table (schema regnamespace)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select 'pgmq'::regnamespace union all select _schema_of_vector() $$;

-- What an administrator has to run so that the role can be used, in one line; null where nothing is missing.
create or replace function pgembedd_internal._role_remedy() returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with role as (select to_regrole('pgembedd')::oid as oid, _owner_of_schema() as installer,
                         current_setting('server_version_num')::integer >= 160000 as new,
                         -- A member could alter our functions in the other database.
                         exists (select from _owned_elsewhere(to_regrole('pgembedd')))
                         and not _is_member_of_role(_owner_of_schema()) as is_taken)
    select case when is_taken then format('let the owner of the other database that uses the role pgembedd install '
                                          'here, too, as %s would have rights there.', installer)
                else s.statements end
    from role, (select string_agg(s.statement || ';', ' ' order by s.nth) as statements from (
        select 1 as nth, 'create role pgembedd nologin' as statement from role where role.oid is null
        union all
        select 2, case when not role.new and not (select o.rolinherit from pg_roles o where o.oid = role.installer)
                       then format('alter role %s inherit; ', role.installer) else '' end
            || format('grant pgembedd to %s', role.installer)
            || case when role.new then ' with inherit true, set true' else '' end
        from role where not _is_member_of_role(role.installer)
        union all
        select 3, format('grant usage on schema %s to pgembedd', o.schema) from role, _schemas_of_role() o
        where not coalesce(has_schema_privilege(role.oid, o.schema, 'usage'), false)
        union all
        select 4, _grant_on_queue(to_regclass(_queue_table(q)), 'pgembedd') from role, unnest(_queues()) q
        where to_regclass(_queue_table(q)) is not null
          and not coalesce(_may_use(role.oid::regrole, _queue_table(q)::regclass), false)) s) s
$$;
