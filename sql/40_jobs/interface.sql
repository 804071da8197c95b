-- The interface between workers and the database. Its number is in the name of the parameter, and the statements by
-- which a worker takes and stores work name that parameter: after a migration to another number, the statements of a
-- worker that still runs are refused as a whole, and it waits. CONTRIBUTING.md says when the number is raised.
create or replace function pgembedd_internal.interface(n2 boolean) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$ begin return n2; end $$;
comment on function pgembedd_internal.interface is
    'Its argument. Workers name the number of the interface in it; those of another interface are refused.';
