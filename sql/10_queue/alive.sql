-- Whether the session of this database lives that was noted by its process id, its start and its name. Where this role
-- may not see when others started, process id and name count alone: a server where the note was restored, or this one
-- when it starts again, may give the process id to any session.
create or replace function pgembedd_internal._alive(pid integer, backend_start timestamptz, application_name text)
returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_stat_activity a
                   where a.pid = _alive.pid and a.datname = current_database()
                     and coalesce(a.backend_start = _alive.backend_start, a.application_name = _alive.application_name))
$$;
