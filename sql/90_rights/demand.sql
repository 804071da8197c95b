create or replace function pgembedd.grant_demand(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'demand');
begin
end $$;
comment on function pgembedd.grant_demand is
    'Let a role call demand(), and nothing else: for an autoscaler.';

create or replace function pgembedd.revoke_demand(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'demand');
begin
end $$;
comment on function pgembedd.revoke_demand is
    'Take back what grant_demand() gave.';

create or replace function pgembedd_internal._demand_privileges() returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$ select format('execute on routine %s', 'pgembedd.demand(text)'::regprocedure) $$;
