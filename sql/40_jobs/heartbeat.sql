-- A worker is known by its row: a worker whose process is stopped, or whose machine is, keeps its sessions. So each
-- says every few seconds that it lives, and what it does; one that has not said so for 15 s does not answer, and counts
-- for nothing. Only a role that may call heartbeat() can be a worker.

-- Says that a worker lives: its number, where its process is, which sessions it has besides this one (null behind a
-- pooler, which keeps none), what it does, and of which pipelines it holds jobs or loads the models. The tasks are
-- `claim` (it takes jobs from the queues), `push` (it has taken posted ones), `embed` (it serves embed()) and `index`
-- (it builds indexes). Returns true where an index is outstanding that it may build.
create or replace function pgembedd_internal.heartbeat(
    worker integer, place text, sessions integer[], tasks text[], busy_with integer[]
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    me oid := quote_ident(session_user)::regrole;
    builds boolean := 'index' = any (tasks) and has_table_privilege(me, 'pgembedd_internal.pipeline', 'update')
        and has_function_privilege(me, 'pgembedd.index_statements(text)', 'execute');
begin
    if not builds then tasks := array_remove(tasks, 'index'); end if;
    perform set_config('synchronous_commit', 'off', true);  -- the next one follows soon
    insert into worker as w (id, role, place, sessions, tasks, busy_with)
    values (worker, me, place, case when sessions is null then '{}' else sessions || pg_backend_pid() end, tasks,
            busy_with)
    on conflict (id) do update
    set role = excluded.role, place = excluded.place, sessions = excluded.sessions, tasks = excluded.tasks,
        busy_with = excluded.busy_with, answered_at = excluded.answered_at, server_start = excluded.server_start;
    delete from worker w using (
        select g.id from worker g where g.id not in (select c.id from workers() c) for update skip locked) gone
    where w.id = gone.id;
    return builds and exists (
        select from pipeline p where p.index_due_at is not null and _exists(_target(p)) and _may_index(me, _target(p)));
end $$;
comment on function pgembedd_internal.heartbeat is
    'Say every five seconds that the worker of this session lives, which sessions it has and what it works on.';

-- The workers that are connected, and whether each has said lately that it lives. On a standby none is. One without
-- sessions is connected as long as it says so. What was said before the server was restarted, or to another server of
-- which this is a restored dump, counts for nothing. A number of a process is used again in time: a session of another
-- role, or one that began after the worker spoke last, is no session of it. (When others' sessions began, Postgres does
-- not tell every role.)
create or replace function pgembedd.workers()
returns table (
    id integer, role oid, place text, sessions integer[], tasks text[], busy_with integer[], answers boolean,
    silent_for interval)
language plpgsql volatile security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    lately timestamptz := clock_timestamp() - interval '15 s';
begin
    if pg_is_in_recovery() then return; end if;
    return query
        select w.id, w.role, w.place, w.sessions, w.tasks, w.busy_with, w.answered_at > lately,
               clock_timestamp() - w.answered_at
        from worker w
        where w.server_start = pg_postmaster_start_time() and case
            when w.sessions = '{}' then w.answered_at > lately
            else exists (select from pg_stat_activity a
                         where a.pid = any (w.sessions) and a.datname = current_database()
                           and a.usesysid = w.role and coalesce(a.backend_start <= w.answered_at, true)) end
        order by w.answered_at;
end $$;
comment on function pgembedd.workers is
    'The workers that are connected: what each does, and whether it has answered within 15 seconds.';

-- "process 42 on a machine for 75 s", for each worker that does not answer; null where all do.
create or replace function pgembedd_internal._silent_workers() returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('%s for %s', w.place, _age(w.silent_for)), ', ') from workers() w where not w.answers
$$;

-- A duration in the largest fitting unit, as the command line writes it.
create or replace function pgembedd_internal._age(age interval) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select round(extract(epoch from age) / u.length) || ' ' || u.unit
    from (values (86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's')) as u(length, unit)
    where u.length = 1 or extract(epoch from age) >= 2 * u.length order by u.length desc limit 1
$$;
