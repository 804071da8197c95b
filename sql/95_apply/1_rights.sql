do $$
declare
    role regrole;
    granting text;
begin
    -- What is granted already, or revoked, is left as it is: each statement makes a new version of the catalog's row.
    for granting in
        select f.oid::regprocedure from pg_proc f
        where f.pronamespace = any (_schemas())
          and exists (select from aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a where a.grantee = 0)
    loop
        execute format('revoke all on routine %s from public', granting);
    end loop;
    -- A restore grants on the schema in one statement, which fails where one role does not exist, as embed()'s own role
    -- never does on another server. A role that may call a function was named by one of our functions.
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = any (_schemas()) and a.grantee not in (0, f.proowner)
    loop
        execute format('grant usage on schema pgembedd, pgembedd_internal to %s', role);
    end loop;
    -- Roles that were given rights by our functions are given them again: this version may have more functions, and a
    -- restore's grants left out tables in the same way. A role that may call `claim` works, and so on.
    for role, granting in
        select r.oid::regrole, 'grant_worker' from pg_roles r where r.rolname = 'pgembedd_worker'
        union
        select a.grantee::regrole, 'grant_' || g.name
        from pgembedd_internal._grants() g
        join pg_proc f on f.pronamespace = any (_schemas()) and f.proname = g.sign
        cross join aclexplode(f.proacl) a
        where a.grantee not in (0, f.proowner, pgembedd_internal._owner_of_schema())
    loop
        execute format('select pgembedd.%I(%L)', granting, role);
    end loop;
    for role in
        select distinct a.grantee::regrole from pg_class c cross join aclexplode(c.relacl) a
        where c.oid in ('pgembedd.dead_letters'::regclass, 'pgembedd.truncated'::regclass)
          and a.grantee not in (0, c.relowner)
    loop
        execute format('grant execute on function pgembedd_internal._shown(jsonb) to %s', role);
    end loop;
end $$;
