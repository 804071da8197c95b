-- Whether the session lives that was noted by its process id and its start. Where this role may not see when others
-- started, the process id counts alone.
create or replace function pgembedd._alive(pid integer, backend_start timestamptz) returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_stat_activity a
                   where a.pid = _alive.pid and coalesce(a.backend_start = _alive.backend_start, true))
$$;
