do $$
declare
    function regprocedure;
    role regrole;
begin
    for function in
        select f.oid from pg_proc f where f.pronamespace = 'pgembedd'::regnamespace
        and f.proname not like E'pipeline\\_%'
    loop
        execute format('revoke all on routine %s from public', function);
    end loop;
    -- A restore grants on the schema in one statement, which fails where one role does not exist, as embed()'s own role
    -- never does on another server. A role that may call a function was named by one of our functions.
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and a.grantee not in (0, f.proowner)
    loop
        execute format('grant usage on schema pgembedd to %s', role);
    end loop;
    -- Roles that were given rights by our functions are given them again: this version may have more functions. A role
    -- that may call `claim` works, one that may call `overview` operates, and so on.
    for role in
        select r.oid::regrole from pg_roles r where r.rolname = 'pgembedd_worker'
        union select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname = 'claim'
          and a.grantee not in (0, f.proowner, pgembedd._owner_of_schema())
    loop
        perform pgembedd.grant_worker(role);
    end loop;
    -- With the tables that a restore's grants left out in the same way.
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname = 'overview'
          and a.grantee not in (0, f.proowner, pgembedd._owner_of_schema())
    loop
        perform pgembedd.grant_operator(role);
    end loop;
    for role in
        select distinct a.grantee::regrole from pg_class c cross join aclexplode(c.relacl) a
        where c.oid in ('pgembedd.failures'::regclass, 'pgembedd.truncated'::regclass)
          and a.grantee not in (0, c.relowner)
    loop
        execute format('grant execute on function pgembedd._shown(jsonb) to %s', role);
    end loop;
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname = 'search' and a.grantee not in (0, f.proowner)
    loop
        perform pgembedd.grant_search(role);
    end loop;
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname = 'ask' and a.grantee not in (0, f.proowner)
    loop
        perform pgembedd.grant_ask(role);
    end loop;
end $$;
