create or replace function pgembedd.search_row(pipeline text, key jsonb, bytes integer default null) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
declare
    target pgembedd_internal._search_target;
    found_row jsonb;
    ignored text;
begin
    target := _search_target(pipeline, null, false);
    if bytes not between 1000 and 100000000 then
        raise exception using message = format('bytes %s is out of range.', bytes),
            hint = 'It is how much is shown of a large row, 1000 to 100000000; without it, all of it.',
            errcode = 'invalid_parameter_value';
    end if;
    ignored := _check_search_rights(target);
    ignored := _check_search_key(target, key);
    execute format('select %s from (select $1 as key) i %s', (_search_shown(target, bytes)).row_expression,
                   target.row_of_key) into found_row using key;
    return found_row;
end $$;
comment on function pgembedd.search_row is
    'The row of a key, with the columns that the caller may read and without vectors; NULL where there is none.';

-- Refuses what is no key of a pipeline, or was found to be none for that reason. The values are read by themselves, so
-- that an error of the table's own code is not taken for one.
create or replace function pgembedd_internal._check_search_key(
    target pgembedd_internal._search_target, key jsonb, reason text default null
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _check_json('key', key);
    if reason is null and jsonb_typeof(key) <> 'null' and (
        cardinality(target.key_names) = 1 or jsonb_typeof(key) = 'object')
    then
        begin
            execute format('select pg_catalog.to_jsonb(k.*) from (select $1 as key) i cross join lateral %s',
                           target.key_record) using key;
            return;
        exception when data_exception then
            reason := sqlerrm;
        end;
    end if;
    raise exception using
        message = _cut(format('%s is no key of "%s"%s.', coalesce(_shortened(key), 'NULL'), target.name,
                              ': ' || reason)),
        hint = _search_key_in_words(target.source, target.key_names), errcode = 'invalid_parameter_value';
end $$;

create or replace function pgembedd_internal._search_key_in_words(source regclass, key_names text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) = 1 then format('A row is named by its key, %s.', min(k.words))
                else format('A row is named by its key as a JSON object: %s.',
                            string_agg(k.words, ', ' order by k.nth)) end
    from (select c.nth, format('%s (%s)', c.name, format_type(a.atttypid, a.atttypmod)) as words
          from unnest(key_names) with ordinality as c(name, nth)
          join pg_attribute a on a.attrelid = source and a.attname = c.name) k
$$;

-- The rows of the keys $1 in the order given; the version of a row is what only a reader of it knows.
create or replace function pgembedd_internal._search_keys_statement(
    target pgembedd_internal._search_target
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        select coalesce(pg_catalog.array_agg({key} order by i.nth), '{}') as keys,
               pg_catalog.array_agg({lacking} order by i.nth) as lacking,
               coalesce(pg_catalog.array_agg({version} order by i.nth), '{}') as versions
        from pg_catalog.unnest($1) with ordinality as i(key, nth) {row_of_key}
        $q$, jsonb_build_object('key', format(target.key_json, 's'), 'row_of_key', target.row_of_key,
            'version', _row_version(target.source, target.text_columns),
            'lacking', case when target.chunked
                            then format('not exists (select from %s v where %s)', target.vectors,
                                        format(target.key_match, 's', 'v'))
                            else format('s.%s is null', target.embedding) end))
$$;
