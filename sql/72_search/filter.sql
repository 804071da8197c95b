-- A filter is data, {"column": value} or {"column": {"$gte": value}}, compiled to a condition of the source row `s`
-- with the columns' own types and the operators of their btree operator classes. No part of it is taken as SQL.

-- The same as _search_filter() for what most filters are: one comparison each of columns of Postgres's own types with
-- whole numbers and texts; null of any other. Of expressions alone, as a query takes longer than all of them.
create or replace function pgembedd_internal._search_plain_filter(
    target pgembedd_internal._search_target, filter jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    operators constant jsonb := '{"$eq": "=", "$lt": "<", "$lte": "<=", "$gte": ">=", "$gt": ">"}';
    members jsonb;
    compared jsonb;
    value jsonb;
    type text;
    conditions text;
begin
    if filter is null then return 'true'; end if;
    if jsonb_typeof(filter) <> 'object' or pg_column_size(filter) > 1000
       or not has_table_privilege(target.source, 'select') then
        return null;
    end if;
    members := jsonb_path_query_array(filter, 'strict $.keyvalue()');
    for nth in 0 .. jsonb_array_length(members) - 1 loop
        type := target.filters -> 'columns' ->> (members -> nth ->> 'key');
        value := members -> nth -> 'value';
        compared := jsonb_path_query_array(case when jsonb_typeof(value) = 'object' then value
                                                else jsonb_build_object('$eq', value) end, 'strict $.keyvalue()');
        value := compared -> 0 -> 'value';
        if jsonb_array_length(compared) <> 1 or not operators ? (compared -> 0 ->> 'key')
           or (case when type = 'text' then jsonb_typeof(value) = 'string'
                    when type is not null then value #>> '{}' ~ '^-?[0-9]{1,9}$' end) is not true then
            return null;
        end if;
        conditions := concat_ws(' and ', conditions, format(
            '(s.%I::pg_catalog.%s operator(pg_catalog.%s) %L::pg_catalog.%2$s)', members -> nth ->> 'key', type,
            operators ->> (compared -> 0 ->> 'key'), value #>> '{}'));
    end loop;
    return conditions;
end $$;

-- What a search with a filter has to know of a pipeline besides its target.
create or replace function pgembedd_internal._search_filters(target pgembedd_internal._search_target) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select jsonb_object_agg(path || '_' || per, parts) || jsonb_build_object('columns', (
        select jsonb_object_agg(a.attname, case t.typname when 'varchar' then 'text' else quote_ident(t.typname) end)
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = target.source and a.attnum > 0 and not starts_with(a.attname, '$')
          and t.oid = any (array['int4', 'int8', 'numeric', 'text', 'varchar']::regtype[])))
    from unnest('{exact,watched}'::text[]) path
    cross join unnest(case when target.chunked then '{row,chunk}' else '{row}' end::text[]) per
    cross join lateral string_to_array(_search_made_statement(target, jsonb_populate_record(null::_asked,
        jsonb_build_object('per', per, 'near_condition', target.own || '_filter', 'indexes', array[0])), path, false,
        '($2)'), target.own || '_filter') parts
    where cardinality(parts) = case path when 'exact' then 2 else 3 end  -- or a column is called so
$$;

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
