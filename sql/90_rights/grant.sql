-- What roles are granted, and how it is taken back. Each grant is a list of privileges, as GRANT and REVOKE have them:
-- `_worker_privileges()` and so on. A role that may call the function `sign` was given the grant, which is kept nowhere
-- else; `includes` are the grants that it consists of in addition to its list.
create or replace function pgembedd_internal._grants() returns table (name text, sign text, includes text[])
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    values ('worker', 'claim', '{}'::text[]),
           ('embed', 'embed', '{}'),
           ('demand', 'demand', '{}'),
           ('search', 'search', '{embed}'),
           ('ask', 'ask', '{search,embed}'),
           ('operator', 'history', '{search,embed,demand}')  -- what it finds is what it may read
$$;

-- The privileges of a grant, with those that it includes.
create or replace function pgembedd_internal._privileges(granted text) returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select p.privilege
    from _grants() g
    cross join unnest(g.includes || g.name) as n(name)
    cross join lateral (
        select w from _worker_privileges() w where n.name = 'worker'
        union all select e from _embed_privileges() e where n.name = 'embed'
        union all select d from _demand_privileges() d where n.name = 'demand'
        union all select s from _search_privileges() s where n.name = 'search'
        union all select a from _ask_privileges() a where n.name = 'ask'
        union all select o from _operator_privileges() o where n.name = 'operator') as p(privilege)
    where g.name = granted
$$;

-- The grants that a role was given by name.
create or replace function pgembedd_internal._granted(role regrole) returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select g.name from _grants() g
    where exists (select from pg_proc f cross join aclexplode(f.proacl) a
                  where f.pronamespace = any (_schemas()) and f.proname = g.sign and a.grantee = role)
$$;

create or replace function pgembedd_internal._grant(role regrole, granted text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    privilege text;
    ignored text := _check_role(role);
begin
    perform _grant_names(role);
    for privilege in
        select p from _privileges(granted) p
        except
        select format('execute on routine %s', f.oid::regprocedure) from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = any (_schemas()) and a.grantee = role
    loop
        execute format('grant %s to %s', privilege, role);
    end loop;
end $$;

-- Takes a grant back, and with it those that it includes: what the role has by others it is given again.
create or replace function pgembedd_internal._revoke(role regrole, granted text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    others text[];
    item text;
    ignored text := _check_role(role);
begin
    ignored := _check_revoke(role, granted);
    others := array(select h.name from _granted(role) as h(name), _grants() g
                    where g.name = granted and h.name <> all (g.includes || granted));
    for item in select p from _privileges(granted) p loop
        execute format('revoke %s from %s', item, role);
    end loop;
    foreach item in array others loop
        perform _grant(role, item);
    end loop;
    perform _revoke_names(role);
    select g.sign into item from _grants() g join pg_proc f on f.proname = g.sign
    where g.name = granted and f.pronamespace = any (_schemas())
      and has_schema_privilege(role, 'pgembedd', 'usage') and has_function_privilege(role, f.oid, 'execute');
    if found then
        raise warning 'the role % may still call %(), by a role that it is a member of', role, item;
    end if;
end $$;

-- Refuses what would have no effect: another grant of the role's includes this one. And the roles whose our functions
-- are, as what is taken from an owner no migration gives back.
create or replace function pgembedd_internal._check_revoke(role regrole, granted text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    other text;
begin
    select g.name into other from _grants() g
    where granted = any (g.includes) and g.name in (select h from _granted(role) h)
    order by cardinality(g.includes) desc, g.name limit 1;
    if role in (_owner_of_schema(), _runner()) then
        raise exception using message = format('The role %s owns pgembedd.', role),
            hint = 'Its rights are not granted by name; name another role.', errcode = 'invalid_parameter_value';
    elsif other is not null then
        raise exception using message = format('The role %s has this by grant_%s(), too.', role, other),
            hint = format('revoke_%s() takes back both.', other), errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

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
begin
    execute format('grant usage on schema pgembedd, pgembedd_internal to %s', role);
    if not has_schema_privilege(role, _schema_of_vector(), 'usage') then
        execute format('grant usage on schema %s to %s', _schema_of_vector(), role);
    end if;
end $$;

-- Undoes that where the role has no right on anything of ours any more, so that it can be dropped.
create or replace function pgembedd_internal._revoke_names(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    if exists (
        select from (
            select f.proacl as acl from pg_proc f where f.pronamespace = any (_schemas())
            union all
            select c.relacl from pg_class c where c.relnamespace = any (_schemas())
            union all
            select a.attacl from pg_attribute a join pg_class c on c.oid = a.attrelid
            where c.relnamespace = any (_schemas())) o cross join aclexplode(o.acl) g
        where g.grantee = role)
    then return; end if;
    execute format('revoke usage on schema pgembedd, pgembedd_internal from %s', role);
    if has_schema_privilege(_schema_of_vector(), 'usage with grant option') then
        execute format('revoke usage on schema %s from %s', _schema_of_vector(), role);
    end if;
end $$;
