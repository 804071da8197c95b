-- Functions in a schema that PostgREST serves, which call ours as the caller: rpc('search', {pipeline, query}).
create or replace function pgembedd.expose_search(schema text default 'public') returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    names constant text[] := '{search,similar,search_many}';
    other text;
begin
    perform _check_schema(schema);
    select p.proname into other from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = schema and p.proname = any (names) and not _is_exposed(p.oid) limit 1;
    if other is not null then
        raise exception using message = format('There is a function %I.%I already.', schema, other),
            hint = 'Name another schema that PostgREST serves.', errcode = 'duplicate_function';
    end if;
    perform _expose(schema, name) from unnest(names) as name;
end $$;
comment on function pgembedd.expose_search is
    'Make search(), similar() and search_many() in a schema that PostgREST serves; they run as the caller.';

create or replace function pgembedd.unexpose_search(schema text default 'public') returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    exposed regprocedure;
    were_there boolean := false;
begin
    perform _check_schema(schema);
    for exposed in select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                   where n.nspname = schema and _is_exposed(p.oid) loop
        execute format('drop function %s', exposed);
        were_there := true;
    end loop;
    return were_there;
end $$;
comment on function pgembedd.unexpose_search is
    'Drop what expose_search() made in a schema; returns whether it was there.';

create or replace function pgembedd_internal._check_schema(schema text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    perform _check_texts('{schema}', array[schema]);
    if to_regnamespace(quote_ident(schema)) is null then
        raise exception using message = format('There is no schema %s.', coalesce(quote_ident(schema), 'NULL')),
            hint = 'Name one that PostgREST serves.', errcode = 'invalid_schema_name';
    end if;
end $$;

-- By the comment: a migration makes those that have it again.
create or replace function pgembedd_internal._is_exposed(function oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select coalesce(obj_description(function, 'pg_proc') = 'Made by pgembedd.expose_search().', false) $$;

-- One of them. A migration calls it, too, and so keeps their parameters and columns those of ours.
create or replace function pgembedd_internal._expose(schema text, name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
    exposed text;
    other regprocedure;
begin
    for item in
        select pg_get_function_result(f.oid) as result, a.*
        from pg_proc f, lateral (
            select string_agg(format('%s %s%s', n.name, format_type(n.type, null),
                       ' default ' || pg_get_function_arg_default(f.oid, n.nth::integer)), ', ' order by n.nth)
                       as arguments,
                   string_agg(format_type(n.type, null), ', ' order by n.nth) as types,
                   string_agg(format('%1$s => %1$s', n.name), ', ' order by n.nth) as names
            from unnest(f.proargnames[:f.pronargs], f.proargtypes::oid[]) with ordinality as n(name, type, nth)
            where n.name <> 'embedding') a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname = _expose.name
          and f.proargnames[1] in ('pipeline', 'pipelines')
    loop
        exposed := format('%I.%I(%s)', schema, name, item.types);
        if to_regprocedure(exposed) is not null and not _is_exposed(to_regprocedure(exposed)) then
            raise exception using message = format('There is a function %s already.', exposed),
                hint = 'Give it another name.', errcode = 'duplicate_function';
        end if;
        -- Where a migration could not make it again, as it is another role's.
        for other in
            select p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = schema and p.proname = _expose.name and _is_exposed(p.oid)
              and (p.oid is distinct from to_regprocedure(exposed) or pg_get_function_result(p.oid) <> item.result)
        loop
            execute format('drop function %s', other);
        end loop;
        execute format('create or replace function %I.%I(%s) returns %s language plpgsql stable as %L', schema, name,
            item.arguments, item.result, _exposed_body(name, item.names));
        execute format('comment on function %s is %L', exposed, 'Made by pgembedd.expose_search().');
    end loop;
end $$;

-- Without the rights on our functions, Postgres would only say that permission was denied for a schema.
create or replace function pgembedd_internal._exposed_body(name text, arguments text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format($q$
        begin
            if not (case when pg_catalog.has_schema_privilege('pgembedd', 'usage')
                         then (select pg_catalog.bool_or(pg_catalog.has_function_privilege(f.oid, 'execute'))
                               from pg_catalog.pg_proc f
                               where f.pronamespace operator(pg_catalog.=) 'pgembedd'::pg_catalog.regnamespace
                                 and f.proname operator(pg_catalog.=) %L) else false end) then
                raise exception 'The role %% may not search.', pg_catalog.quote_ident(current_user)
                using errcode = 'insufficient_privilege', hint = pg_catalog.format(
                    'Have pgembedd''s owner call pgembedd.grant_search(%%L).', current_user);
            end if;
            return query select * from pgembedd.%I(%s);
        end $q$, name, name, arguments)
$$;
