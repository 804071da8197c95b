-- Nothing is granted to PUBLIC. A worker may call its functions and read no table; an operator sees the status and may
-- retry failed jobs.

create or replace function pgembedd.grant_worker(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'worker');
begin
end $$;
comment on function pgembedd.grant_worker is
    'Give a role of yours what a worker needs, and nothing more.';

create or replace function pgembedd.revoke_worker(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'worker');
begin
end $$;
comment on function pgembedd.revoke_worker is
    'Take back what grant_worker() gave.';

create or replace function pgembedd_internal._worker_privileges() returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$ select format('execute on routine %s', f) from _worker_functions() f $$;

-- In the schema pgembedd_internal the name of a function that is not for workers begins with an underscore.
create or replace function pgembedd_internal._worker_functions() returns setof regprocedure
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = 'pgembedd_internal'::regnamespace and f.proname not like E'\\_%'
       or f.pronamespace = 'pgembedd'::regnamespace
          and f.proname in ('tick', 'metrics', 'schema_version', 'events', 'workers')
$$;
