create or replace function pgembedd.search_row(pipeline text, key jsonb, bytes integer default null) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
declare
    target pgembedd_internal._search_target;
    several boolean;
    found_row jsonb;
    ignored text;
begin
    target := _search_target(pipeline, null, false);
    several := cardinality(target.key_names) > 1;
    if key is null or key = 'null' or several and jsonb_typeof(key) <> 'object' then
        raise exception using
            message = format('%s is no key of "%s".', coalesce(_shortened(key), 'NULL'), target.name),
            hint = case when several then format('It is an object of %s.', array_to_string(target.key_names, ', '))
                 else 'It is the value that a search returns as key.' end, errcode = 'invalid_parameter_value';
    elsif bytes not between 1000 and 100000000 then
        raise exception using message = format('bytes %s is out of range.', bytes),
            hint = 'It is how much is shown of a large row, 1000 to 100000000; without it, all of it.',
            errcode = 'invalid_parameter_value';
    end if;
    ignored := _check_search_rights(target);
    ignored := _check_search_key(target, key);
    execute format('select %s from (select $1 as key) i %s', (_search_shown(target, 0, bytes)).row_expression,
                   target.row_of_key) into found_row using key;
    return found_row;
end $$;
comment on function pgembedd.search_row is
    'The row of a key, with the columns that the caller may read and without vectors; NULL where there is none.';

-- Refuses a key whose values are not of the key's types. They are read by themselves, so that an error of the table's
-- own code is not taken for one.
create or replace function pgembedd_internal._check_search_key(
    target pgembedd_internal._search_target, key jsonb
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _check_json('key', key);
    execute format('select pg_catalog.to_jsonb(k.*) from (select $1 as key) i cross join lateral %s',
                   target.key_record) using key;
exception when data_exception then
    raise exception using
        message = _cut(format('%s is no key of "%s": %s.', _shortened(key), target.name, sqlerrm)),
        hint = 'It is the value that a search returns as key.', errcode = 'invalid_parameter_value';
end $$;
