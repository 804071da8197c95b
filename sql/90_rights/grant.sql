-- Refuses null, and the number of a role that is gone: both would be an error of syntax in a GRANT.
create or replace function pgembedd_internal._check_role(role regrole) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using message = format('There is no role %s.', coalesce(role::text, 'NULL')),
            hint = 'Name one that exists, in quotes: ''embedder''.', errcode = 'undefined_object';
    end if;
end $$;

-- Lets a role name what is in our schema, and the vector type. Mostly PUBLIC may name the type; what is not granted
-- need not be revoked.
create or replace function pgembedd_internal._grant_names(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    vector_schema text := (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    execute format('grant usage on schema pgembedd, pgembedd_internal to %s', role);
    if not has_schema_privilege(role, vector_schema, 'usage') then
        execute format('grant usage on schema %I to %s', vector_schema, role);
    end if;
end $$;

create or replace function pgembedd_internal._grant_functions(role regrole, functions regprocedure[]) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    function regprocedure;
begin
    foreach function in array functions loop
        execute format('grant execute on routine %s to %s', function, role);
    end loop;
end $$;
