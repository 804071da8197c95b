-- Functions in a schema that PostgREST serves, which call ours as the caller: rpc('search', {pipeline, query}).
create or replace function pgembedd.expose_search(schema text default 'public') returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    item record;
    present oid;
begin
    perform _check_texts('{schema}', array[schema]);
    if to_regnamespace(quote_ident(schema)) is null then
        perform _refuse(format('There is no schema %s.', coalesce(quote_ident(schema), 'NULL')),
            'Name one that PostgREST serves.');
    end if;
    for item in
        select f.oid, f.proname as name, pg_get_function_result(f.oid) as result, a.arguments, a.names
        from pg_proc f, lateral (
            select string_agg(format('%s %s%s', n.name, format_type(n.type, null),
                       case when pg_get_function_arg_default(f.oid, n.nth::integer) is not null
                            then ' default ' || pg_get_function_arg_default(f.oid, n.nth::integer) end),
                       ', ' order by n.nth) as arguments,
                   string_agg(format('%1$s => %1$s', n.name), ', ' order by n.nth) as names
            from unnest(f.proargnames[:f.pronargs], f.proargtypes::oid[]) with ordinality as n(name, type, nth)
            where n.name <> 'embedding') a
        where f.pronamespace = 'pgembedd'::regnamespace and f.proname in ('search', 'similar', 'search_many')
          and f.proargnames[1] in ('pipeline', 'pipelines')
    loop
        select p.oid into present from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = schema and p.proname = item.name and obj_description(p.oid, 'pg_proc') is distinct from
              'Made by pgembedd.expose_search().';
        if present is not null then
            perform _refuse(format('There is a function %I.%I already.', schema, item.name),
                'Name another schema that PostgREST serves.');
        end if;
        execute format('drop function if exists %I.%I(%s)', schema, item.name,
            (select string_agg(format_type(t, null), ', ' order by nth) from unnest(
                array(select n.type from unnest(
                    (select f.proargnames[:f.pronargs] from pg_proc f where f.oid = item.oid),
                    (select f.proargtypes::oid[] from pg_proc f where f.oid = item.oid)) as n(name, type)
                      where n.name <> 'embedding')) with ordinality as u(t, nth)));
        execute format('create function %I.%I(%s) returns %s language plpgsql stable as %L', schema, item.name,
            item.arguments, item.result, _exposed_body(item.oid, item.names));
        execute format('comment on function %I.%I is %L', schema, item.name, 'Made by pgembedd.expose_search().');
    end loop;
end $$;
-- Without the rights on our functions, Postgres would only say that permission was denied for a schema.
create or replace function pgembedd._exposed_body(function regprocedure, arguments text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format($q$
        begin
            if not (case when pg_catalog.has_schema_privilege('pgembedd', 'usage')
                         then pg_catalog.has_function_privilege(%L, 'execute') else false end) then
                raise exception 'The role %% may not search.', pg_catalog.quote_ident(current_user)
                using errcode = 'insufficient_privilege', hint = pg_catalog.format(
                    'Have pgembedd''s owner call pgembedd.grant_search(%%L).', current_user);
            end if;
            return query select * from %s(%s);
        end $q$, function, split_part(function::text, '(', 1), arguments)
$$;

comment on function pgembedd.expose_search is
    'Make search(), similar() and search_many() in a schema that PostgREST serves; they run as the caller.';
