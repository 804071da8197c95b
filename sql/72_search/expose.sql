-- Functions in a schema that PostgREST serves, which call ours as the caller: rpc('search', {pipeline, query}).
create or replace function pgembedd.expose_search(schema text default 'public') returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if to_regnamespace(quote_ident(schema)) is null then
        perform _refuse(format('There is no schema %s.', coalesce(quote_ident(schema), 'NULL')),
            'Name one that PostgREST serves.');
    end if;
    perform _expose(schema, name) from unnest('{search,similar,search_many}'::text[]) as name;
end $$;
comment on function pgembedd.expose_search is
    'Make search(), similar() and search_many() in a schema that PostgREST serves; they run as the caller.';

-- One of them, or what replaces it after an upgrade, which knows them by their comment.
create or replace function pgembedd._expose(schema text, name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    said constant text := 'Made by pgembedd.expose_search().';
    exposed text;
    item record;
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
        if exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                   where n.nspname = schema and p.proname = _expose.name
                     and obj_description(p.oid, 'pg_proc') is distinct from said)
        then
            perform _refuse(format('There is a function %I.%I already.', schema, name),
                'Name another schema that PostgREST serves.');
        end if;
        exposed := format('%I.%I(%s)', schema, name, item.types);
        execute format('create or replace function %I.%I(%s) returns %s language plpgsql stable as %L', schema, name,
            item.arguments, item.result, _exposed_body(name, item.names));
        execute format('comment on function %s is %L', exposed, said);
    end loop;
end $$;

-- Without the rights on our functions, Postgres would only say that permission was denied for a schema.
create or replace function pgembedd._exposed_body(name text, arguments text) returns text
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
