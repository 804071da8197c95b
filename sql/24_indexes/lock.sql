-- One session at a time builds an index. A row says which, and not an advisory lock, which any role could hold.

-- Makes this session the one that builds; false where another one does. Never waits: the other build would wait for
-- the snapshot of this statement.
create or replace function pgembedd_internal._start_index_build() returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    other pgembedd_internal.index_build;
begin
    select b.* into other from index_build b for update skip locked;
    if not found or (
        other.pid <> pg_backend_pid() and _alive(other.pid, other.backend_start, other.application_name)
    ) then
        return false;
    end if;
    update index_build b
    set pid = a.pid, backend_start = a.backend_start, application_name = a.application_name
    from pg_stat_activity a where a.pid = pg_backend_pid();
    return true;
end $$;

create or replace function pgembedd_internal._end_index_build() returns void
language sql volatile security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    update index_build b set pid = null, backend_start = null, application_name = null
    where b.pid = pg_backend_pid()
$$;
