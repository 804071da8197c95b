-- A role `pgembedd` that other roles have, or that can do more than it should.

create or replace function pgembedd_internal._refuse_role() returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    found_one record;
begin
    select p.problem, p.remedy into found_one from _problems_of_role() p limit 1;
    if found then
        raise exception using message = format('There is a role pgembedd already, and it %s', found_one.problem),
            hint = format('As an administrator: %s %s', found_one.remedy,
                case when exists (select from _owned_elsewhere('pgembedd'::regrole))
                     then 'Do not drop or rename it: another database of this server uses it.'
                     else 'Or rename it, where it is another program''s: ALTER ROLE pgembedd RENAME TO ...;' end),
            errcode = 'duplicate_object';
    end if;
end $$;

-- What a role of that name has too much, each with the statements that take it away, which no other database misses.
create or replace function pgembedd_internal._problems_of_role() returns table (problem text, remedy text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select 'may log in', 'ALTER ROLE pgembedd NOLOGIN;'
    from pg_roles r where r.rolname = 'pgembedd' and r.rolcanlogin
    union all
    select 'has attributes', 'ALTER ROLE pgembedd NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;'
    from pg_roles r
    where r.rolname = 'pgembedd'
      and (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls)
    union all
    select format('is a member of %s', m.roleid::regrole), format('REVOKE %s FROM pgembedd;', m.roleid::regrole)
    from pg_auth_members m where m.member = to_regrole('pgembedd')
    union all
    select format('has the member %s', m.member::regrole),
           case when _installed_elsewhere(m.member)
                then format('let %s, who installed pgembedd in another database, install here, too.',
                            m.member::regrole)
                else format('REVOKE pgembedd FROM %s GRANTED BY %s;', m.member::regrole, m.grantor::regrole) end
    from (select g.* from pg_auth_members g order by g.admin_option) m join pg_roles o on o.oid = m.member
    where m.roleid = to_regrole('pgembedd') and not o.rolsuper and m.member <> _owner_of_schema()
$$;

-- Whether a role owns a schema in another database where the role `pgembedd` owns functions: it needs the membership.
create or replace function pgembedd_internal._installed_elsewhere(role oid) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (
        select from _owned_elsewhere(role) o
        where o.class = 'pg_namespace'::regclass
          and o.database in (select p.database from _owned_elsewhere(to_regrole('pgembedd')) p))
$$;

-- What a role owns in other databases of the server.
create or replace function pgembedd_internal._owned_elsewhere(role oid) returns table (database oid, class oid)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select d.dbid, d.classid from pg_shdepend d join pg_database b on b.oid = d.dbid
    where d.refclassid = 'pg_authid'::regclass and d.refobjid = role and d.deptype = 'o'
      and b.datname <> current_database()
$$;
