-- A worker whose process is stopped, or whose machine is, keeps its sessions. So each says every few seconds that it
-- lives, and one that has not said so for 15 s does not answer: its sessions count for nothing. A worker that waits by
-- polling has no session of its own, and one of an older version says nothing: these count while they are connected.

-- Says that the worker of this session lives: where its process is, which sessions it has, and of which pipelines it
-- holds jobs or loads the models.
create or replace function pgembedd.heartbeat(place text, sessions integer[], busy_with integer[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform set_config('synchronous_commit', 'off', true);  -- the next one follows soon
    update worker w set place = heartbeat.place, sessions = heartbeat.sessions, busy_with = heartbeat.busy_with,
        answered_at = clock_timestamp()
    where w.pid = pg_backend_pid() and _alive(w.pid, w.backend_start, w.application_name);
    if not found then  -- or there is the row of a process that had this number before the server was restarted
        delete from worker w where not _alive(w.pid, w.backend_start, w.application_name);
        insert into worker (pid, backend_start, application_name, place, sessions, busy_with)
        select a.pid, a.backend_start, a.application_name, place, sessions, busy_with
        from pg_stat_activity a where a.pid = pg_backend_pid();
    end if;
end $$;
comment on function pgembedd.heartbeat is
    'Say every five seconds that the worker of this session lives, which sessions it has and what it works on.';

-- The workers that are connected and say that they live, and whether each has said so lately. On a standby none is.
create or replace function pgembedd._workers()
returns table (place text, sessions integer[], busy_with integer[], answers boolean, silent_for interval)
language plpgsql volatile
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if pg_is_in_recovery() then return; end if;
    return query
        select w.place, w.sessions, w.busy_with, w.answered_at > clock_timestamp() - interval '15 s',
               clock_timestamp() - w.answered_at
        from worker w where _alive(w.pid, w.backend_start, w.application_name) order by w.answered_at;
end $$;

-- The process ids of the sessions of workers that are connected and do not answer.
create or replace function pgembedd.silent_sessions() returns integer[]
language sql volatile security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select coalesce(array_agg(s.pid), '{}') from _workers() w cross join unnest(w.sessions) as s(pid)
    where not w.answers
$$;
comment on function pgembedd.silent_sessions is
    'The process ids of the sessions of workers that are connected and have not answered for 15 seconds.';

-- "process 42 on a machine for 75 s", for each worker that does not answer; null where all do.
create or replace function pgembedd._silent_workers() returns text
language sql volatile
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select string_agg(format('%s for %s', w.place, _age(w.silent_for)), ', ') from _workers() w where not w.answers
$$;

-- A duration in the largest fitting unit, as the command line writes it.
create or replace function pgembedd._age(age interval) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select round(extract(epoch from age) / u.length) || ' ' || u.unit
    from (values (86400, 'd'), (3600, 'h'), (60, 'min'), (1, 's')) as u(length, unit)
    where u.length = 1 or extract(epoch from age) >= 2 * u.length order by u.length desc limit 1
$$;
