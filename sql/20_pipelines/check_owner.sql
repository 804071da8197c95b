-- A pipeline's functions run as the table's owner, so the caller must be able to act as that role.
create or replace function pgembedd_internal._check_owner(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    source_owner regrole := _owner(made.source);
begin
    if not pg_has_role(current_user, source_owner, 'usage') then
        raise exception using
            message = format('%s belongs to %s, and %s may not act for that role.', made.source, source_owner,
            quote_ident(current_user)),
            hint = format('Run this as %s or as a superuser, or GRANT %s TO %s.', source_owner, source_owner,
                quote_ident(current_user)), errcode = 'insufficient_privilege';
    elsif _hidden_from_owner(made.source) is not null then
        raise exception using message = _hidden_from_owner(made.source), errcode = 'feature_not_supported';
    end if;
end $$;

-- FORCE ROW LEVEL SECURITY subjects the owner to the policies: rows would be missed, or taken for gone.
create or replace function pgembedd_internal._hidden_from_owner(source regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('Row level security is forced on %s, so that %s, who owns it, would not see every row. Have '
                  'an administrator run ALTER ROLE %s BYPASSRLS, or ALTER TABLE %s NO FORCE ROW LEVEL SECURITY.',
                  source, c.relowner::regrole, c.relowner::regrole, source)
    from pg_class c join pg_roles r on r.oid = c.relowner
    where c.oid = source and c.relrowsecurity and c.relforcerowsecurity and not (r.rolsuper or r.rolbypassrls)
$$;
