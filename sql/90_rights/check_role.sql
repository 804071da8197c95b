-- Refuses null, and the number of a role that is gone: both would be an error of syntax in a GRANT.
create or replace function pgembedd._check_role(role regrole) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using message = format('There is no role %s.', coalesce(role::text, 'NULL')),
            hint = 'Name one that exists, in quotes: ''embedder''.', errcode = '22023';
    end if;
end $$;
