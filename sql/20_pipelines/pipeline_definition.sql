-- The call of create_pipeline() that would make a pipeline. The names, the order and the defaults of the options are
-- those that Postgres knows of the function itself.

create or replace function pgembedd.pipeline_definition(pipeline text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one constant pgembedd_internal.pipeline := _pipeline(pipeline);
    has constant jsonb := _options(one);
    left_out constant jsonb := _options_left_out(one);
begin
    return (select format(E'select pgembedd.create_pipeline(\n    %s)', string_agg(
                format('%s => %s', o.name, _option_literal(has -> o.name)), E',\n    ' order by o.nth))
            from _option_names() o
            where has -> o.name <> coalesce(left_out -> o.name, 'null'));
end $$;
comment on function pgembedd.pipeline_definition is
    'The call of create_pipeline() that would make the pipeline, with the options that differ from their defaults.';

-- The parameters of create_pipeline() in their order, with their defaults as SQL.
create or replace function pgembedd_internal._option_names() returns table (name text, nth bigint, by_default text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select n.name, n.nth, pg_get_function_arg_default(f.oid, n.nth::integer)
    from pg_proc f cross join unnest(f.proargnames) with ordinality as n(name, nth)
    where f.pronamespace = 'pgembedd'::regnamespace and f.proname = 'create_pipeline'
$$;

-- A pipeline's options by name.
create or replace function pgembedd_internal._options(one pgembedd_internal.pipeline) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set intervalstyle = 'postgres'
as $$ select to_jsonb(s) from _shown_pipeline(one) s $$;

-- What the options are that a call leaves out, where the others are those of a pipeline. For text_config that depends
-- on the session, so it is not left out.
create or replace function pgembedd_internal._options_left_out(one pgembedd_internal.pipeline) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set intervalstyle = 'postgres'
as $$
declare
    defaults jsonb;
begin
    execute (select format('select to_jsonb(d) from (select %s) d',
                           string_agg(format('%s as %I', o.by_default, o.name), ', ' order by o.nth))
             from _option_names() o where o.by_default is not null) into defaults;
    return case when one.task = 'embed' then defaults else defaults - _vector_options() end || jsonb_build_object(
        'embedding_column', case when one.embedding_table is null then 'embedding' end,
        'dimensions', _model_dimensions(one.model),
        'watch_columns', case when one.asked_watch_columns is null then one.watch_columns end,
        'text_config', null);
end $$;

create or replace function pgembedd_internal._option_literal(value jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case jsonb_typeof(value)
        when 'array' then coalesce((
            select 'array[' || string_agg(quote_literal(m.member), ', ' order by m.nth) || ']'
            from jsonb_array_elements_text(value) with ordinality as m(member, nth)), '''{}''')
        when 'string' then quote_literal(value #>> '{}')
        when 'object' then quote_literal(value)
        else coalesce(value #>> '{}', 'null') end
$$;
