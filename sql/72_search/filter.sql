-- A filter is data, {"column": value} or {"column": {"$gte": value}}, compiled to a condition of the source row `s`
-- with the columns' own types and the operators of their btree operator classes. No part of it is taken as SQL.

create or replace function pgembedd_internal._search_filter(source oid, filter jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    remedy text;
    ignored text;
begin
    if filter is null or filter = 'null' then return 'true'; end if;
    ignored := _check_json('filter', filter);
    if octet_length(filter::text) <= 128 then null;  -- which have no 65 levels, of two brackets each
    elsif jsonb_path_exists(filter, 'strict $.**{65}') then
        raise exception using message = 'The filter is nested more than 64 levels deep.',
            hint = 'Objects and arrays count.', errcode = 'program_limit_exceeded';
    elsif (select count(*) from jsonb_path_query(filter, 'strict $.** ? (@.type() == "object").keyvalue()'))
          > _most_members('filter') then
        raise exception using message = 'The filter has more than 1000 columns and operators.',
            hint = '$in takes any number of values within the size of a filter.', errcode = 'program_limit_exceeded';
    end if;
    return _search_conditions(source, filter);
exception when invalid_parameter_value or undefined_column or datatype_mismatch or program_limit_exceeded then
    get stacked diagnostics remedy = pg_exception_hint;
    if remedy = '' then raise; end if;
    -- Without the functions in between.
    raise exception using message = _cut(sqlerrm), errcode = sqlstate, hint = remedy;
end $$;

create or replace function pgembedd_internal._search_conditions(source oid, filter jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    members jsonb;
    member jsonb;
    conditions text;
begin
    if jsonb_typeof(filter) <> 'object' then
        raise exception using message = format('The filter %s is no object.', _shortened(filter)),
            hint = 'For example {"section": "faq", "year": {"$gte": 2020}}.', errcode = 'invalid_parameter_value';
    end if;
    members := jsonb_path_query_array(filter, 'strict $.keyvalue()');  -- of which expressions make no query
    for nth in 0 .. jsonb_array_length(members) - 1 loop
        member := members -> nth;
        conditions := concat_ws(' and ', conditions, format('(%s)', case
            when member ->> 'key' in ('$and', '$or')
            then _search_filter_list(source, member ->> 'key', member -> 'value')
            when member ->> 'key' = '$not'
            then format('(%s) is not true', _search_conditions(source, member -> 'value'))
            else _search_filter_column(source, member ->> 'key', member -> 'value') end));
    end loop;
    return coalesce(conditions, 'true');
end $$;

create or replace function pgembedd_internal._search_filter_list(source oid, word text, filters jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if jsonb_typeof(filters) <> 'array' or filters = '[]' then
        raise exception using message = format('%s takes an array of filters, not %s.', word, _shortened(filters)),
            hint = format('For example {"%s": [{"section": "faq"}, {"year": 2020}]}.', word),
            errcode = 'invalid_parameter_value';
    end if;
    return (select string_agg(format('(%s)', _search_conditions(source, f)), case word when '$and' then ' and '
                                                                                 else ' or ' end)
            from jsonb_array_elements(filters) f);
end $$;

-- The conditions on one column, or on a path into one that holds JSON.
create or replace function pgembedd_internal._search_filter_column(source oid, name text, condition jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    operand pgembedd_internal._search_operand;
    members jsonb;
    conditions text;
begin
    if starts_with(name, '$') then
        raise exception using message = format('The filter''s operator %s is not known here.', name),
            hint = 'Around conditions there are $and, $or and $not; the others stand below a column.',
            errcode = 'invalid_parameter_value';
    end if;
    operand := _search_operand(source, name);
    if jsonb_typeof(condition) <> 'object' then
        return _search_condition(operand, '$eq', condition);
    elsif condition = '{}' then
        raise exception using message = format('The filter says nothing about "%s".', name),
            hint = 'Give a value, or an operator with a value: {"$gte": 2020}.', errcode = 'invalid_parameter_value';
    end if;
    members := jsonb_path_query_array(condition, 'strict $.keyvalue()');
    for nth in 0 .. jsonb_array_length(members) - 1 loop
        conditions := concat_ws(' and ', conditions,
            _search_condition(operand, members -> nth ->> 'key', members -> nth -> 'value'));
    end loop;
    return conditions;
end $$;

-- A value for an error's sentence. What is large is not written out: a number of ten bytes may have 100,000 digits.
create or replace function pgembedd_internal._shortened(value jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when pg_column_size(value) > 1000 and jsonb_typeof(value) = 'array' then '[...]'
                when pg_column_size(value) > 1000 and jsonb_typeof(value) = 'object' then '{...}'
                when pg_column_size(value) > 1000 then '"' || left(value #>> '{}', 56) || '...'
                when length(value::text) > 60 then left(value::text, 57) || '...' else value::text end
$$;
