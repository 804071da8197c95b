-- The fields of the pipeline that are to have other values, which may be null.
create or replace function pgembedd_internal._changes(name text, asked jsonb, reset text[]) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    given jsonb;
    ignored text := _check_texts('{rename_to}', array[asked ->> 'name']);
begin
    ignored := _check_members('reset', reset);
    ignored := _check_reset(asked - '{name,content_columns,content_function,uri_column}'::text[], reset);
    given := jsonb_strip_nulls(asked) || (
        select coalesce(jsonb_object_agg(o, _default_of_option(o)), '{}') from unnest(reset) as o);
    if given ?| '{content_columns,content_function,uri_column}' then
        given := '{"content_columns": null, "content_function": null}' || given;
    end if;
    if given ? 'text_config' then given := given || '{"text_config_column": null}'; end if;
    if given ? 'watch_columns' then
        given := given || jsonb_build_object('asked_watch_columns', given -> 'watch_columns');
    end if;
    if given ?| '{content_columns,uri_column,objects_uri,text_config,watch_columns}' then
        given := given || '{"watch_columns": null}';  -- they follow from the others
    end if;
    ignored := _check_problem(jsonb_populate_record(one, given - '{name,content_columns,content_function}'::text[]
        || case
        when given ? 'content_columns' then '{"content_columns": null, "content_function": null}' else '{}'::jsonb end),
        'The pipeline "%s" cannot be altered: %s');
    return given || jsonb_build_object('source_name', one.source::text);
end $$;

-- `asked` has all options with a default, null where a call leaves one as it is.
create or replace function pgembedd_internal._check_reset(asked jsonb, reset text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    known constant text[] := array(select k from jsonb_object_keys(asked) as k order by k);
    wrong constant text := (select coalesce(r, 'NULL') from unnest(reset) as r where r is null or r <> all (known)
                            limit 1);
    twice constant text := (select r from unnest(reset) as r where asked -> r <> 'null' limit 1);
begin
    if wrong is not null then
        raise exception using message = _cut(format('reset names %s, which is no option with a default.', wrong)),
            hint = format('It takes %s.', array_to_string(known, ', ')), errcode = 'invalid_parameter_value';
    elsif twice is not null then
        raise exception using message = format('%s is given, and reset names it, too.', twice),
            hint = 'Leave one of the two out.', errcode = 'invalid_parameter_value';
    end if;
end $$;

-- The value of an option that create_pipeline() is not told.
create or replace function pgembedd_internal._default_of_option(option text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    value jsonb;
begin
    execute (select format('select to_jsonb(%s)', o.by_default) from _option_names() o where o.name = option)
        into value;
    return coalesce(value, 'null');
end $$;

-- The fields in which they differ, but for those that a table gives.
create or replace function pgembedd_internal._changed_fields(
    before pgembedd_internal.pipeline, after pgembedd_internal.pipeline
) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce(array_agg(key order by key), '{}')
    from jsonb_each(to_jsonb(before)) b join jsonb_each(to_jsonb(after)) a using (key)
    where b.value <> a.value and key not in ('source_name', 'key_columns')
$$;

-- The shadow with what was changed of the other side.
create or replace function pgembedd_internal._altered_alike(
    shadow pgembedd_internal.pipeline, before pgembedd_internal.pipeline, after pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select jsonb_populate_record(shadow, coalesce(jsonb_object_agg(f, to_jsonb(after) -> f) filter (
               where f <> 'watch_columns'), '{}')
           || case when bool_or(f in ('content_columns', 'content_function', 'asked_watch_columns', 'watch_columns',
                                      'text_config_column')) then '{"watch_columns": null}' else '{}'::jsonb end
           || jsonb_build_object('name', after.name || '.' || shadow.shadow))
    from unnest(_changed_fields(before, after)) as f
$$;
