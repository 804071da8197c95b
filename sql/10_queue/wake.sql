-- Wakes the workers, from a trigger or a function. A NOTIFY takes a database-wide lock at commit, so it is sent only
-- while a worker sleeps; one that is busy looks again by itself.
create or replace function pgembedd_internal._wake(queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select last_value from pgembedd_internal.worker_idle) = 1 then
        perform pg_notify('pgembedd', queue);
    end if;
end $$;
