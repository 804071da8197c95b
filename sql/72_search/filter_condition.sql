create or replace function pgembedd_internal._search_condition(
    operand pgembedd_internal._search_operand, operator text, value jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored constant text := _check_search_condition(operand, operator, value);
begin
    return case operator
        when '$eq' then _search_equals(operand, value)
        when '$ne' then format('(%s) is not true', _search_equals(operand, value))
        when '$lt' then _search_compared(operand, 1, value)
        when '$lte' then _search_compared(operand, 2, value)
        when '$gte' then _search_compared(operand, 4, value)
        when '$gt' then _search_compared(operand, 5, value)
        when '$in' then _search_one_of(operand, value)
        when '$nin' then format('(%s) is not true', _search_one_of(operand, value))
        when '$between' then format('(%s and %s)', _search_compared(operand, 4, value -> 0),
                                    _search_compared(operand, 2, value -> 1))
        when '$like' then _search_like(operand, '~~', value)
        when '$ilike' then _search_like(operand, '~~*', value)
        -- Not IS NULL, which means something else of a composite value.
        when '$exists' then format('%s is %s distinct from null', operand.expression,
                                   case when value::boolean then '' else 'not' end)
        -- A single value stands for an array of it.
        when '$contains' then format('%s operator(pg_catalog.@>) %s', operand.expression, case
            when operand.kind = 'json' then format('%L::pg_catalog.jsonb', value)
            when jsonb_typeof(value) = 'array' then _search_literal(operand, value)
            else _search_literal(operand, jsonb_build_array(value)) end) end;
end $$;

-- Refuses an operator that is not known or does not go with the column, and a value that does not go with it.
create or replace function pgembedd_internal._check_search_condition(
    operand pgembedd_internal._search_operand, operator text, value jsonb
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wanted text := case when operator in ('$lt', '$lte', '$gt', '$gte') then 'value'
        when operator in ('$in', '$nin') then 'array' when operator = '$between' then 'pair'
        when operator in ('$like', '$ilike') then 'string' when operator = '$exists' then 'boolean' end;
    known constant text[] := '{$eq,$ne,$gt,$gte,$lt,$lte,$in,$nin,$between,$like,$ilike,$exists,$contains}';
    wrong constant text := case
        when operator <> all (known) then 'operator'
        when operator in ('$like', '$ilike') and operand.kind <> 'json' and not operand.is_text
            or operator = '$contains' and operand.kind = 'plain'
            or operand.kind <> 'json' and operand.operators is null
               and operator not in ('$exists', '$like', '$ilike') and (value <> 'null' or operator = '$contains')
        then 'column'
        when wanted = 'value' and jsonb_typeof(value) = 'null'
          or wanted = 'pair' and (jsonb_typeof(value) <> 'array' or jsonb_array_length(value) <> 2 or value @> '[null]')
            or wanted in ('array', 'string', 'boolean') and jsonb_typeof(value) <> wanted then 'value'
        when wanted = 'string' and value #>> '{}' ~ E'(^|[^\\\\])(\\\\\\\\)*\\\\$' then 'pattern' end;
begin
    if wrong is null then return;
    elsif wrong = 'operator' then
        raise exception using message = format('The filter''s operator %s is not known.', operator),
            hint = format('There are %s.', array_to_string(known, ', ')), errcode = 'invalid_parameter_value';
    elsif wrong = 'column' then
        raise exception using message = format('%s does not go with "%s", which is %s.', operator, operand.name,
            operand.type_name),
            hint =
                '$like and $ilike are for texts, $contains for arrays and jsonb, comparisons for types with an order.',
            errcode = 'datatype_mismatch';
    elsif wrong = 'value' then
        raise exception using message = format('%s takes %s, not %s.', operator, case wanted when 'value' then 'a value'
            when 'pair' then 'an array of two values' when 'array' then 'an array'
            when 'string' then 'a string' else 'true or false' end, _shortened(value)),
            hint = format('For example {%s: {"%s": %s}}.', to_jsonb(operand.name), operator, case wanted
                when 'value' then '2020' when 'pair' then '[1, 2]' when 'array' then '["a", "b"]'
                when 'string' then '"a%"' else 'true' end), errcode = 'invalid_parameter_value';
    else
        raise exception using
            message = format('The pattern %s for "%s" ends with a backslash.', _shortened(value), operand.name),
            hint = 'Write it twice, as one has what follows taken as it is.', errcode = 'invalid_parameter_value';
    end if;
end $$;

-- Containment is what an index on jsonb answers; a path with a number may lead into an array, which it cannot say.
create or replace function pgembedd_internal._search_equals(
    operand pgembedd_internal._search_operand, value jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if operand.kind <> 'json' then
        return case when value = 'null' then format('%s is not distinct from null', operand.expression)
                    else _search_compared(operand, 3, value) end;
    elsif value = 'null' then
        return format('(%1$s is null or %1$s operator(pg_catalog.=) ''null''::pg_catalog.jsonb)', operand.expression);
    elsif not operand.contained or jsonb_typeof(value) in ('array', 'object') then
        return format('%s operator(pg_catalog.=) %L::pg_catalog.jsonb', operand.expression, value);
    end if;
    for nth in reverse cardinality(operand.path) .. 1 loop
        value := jsonb_build_object(operand.path[nth], value);
    end loop;
    return format('%s operator(pg_catalog.@>) %L::pg_catalog.jsonb', operand.json_column, value);
end $$;

-- In JSON only values of one type have an order among each other.
create or replace function pgembedd_internal._search_compared(
    operand pgembedd_internal._search_operand, strategy integer, value jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if operand.kind = 'json' then
        return format('(pg_catalog.jsonb_typeof(%1$s) operator(pg_catalog.=) %2$L and %1$s operator(pg_catalog.%3$s) '
                      '%4$L::pg_catalog.jsonb)', operand.expression, jsonb_typeof(value),
                      (array['<', '<=', '=', '>=', '>'])[strategy], value);
    end if;
    return format('%s %s %s', operand.expression, operand.operators[strategy], _search_literal(operand, value));
end $$;

-- By the operator that the extension of the type has for it, as citext's ignore case; else as text.
create or replace function pgembedd_internal._search_like(
    operand pgembedd_internal._search_operand, operator text, pattern jsonb
) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select format('%s operator(%I.%s) %L::%s', operand.expression, n.nspname, operator, pattern #>> '{}',
                      operand.type)
        from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
        join pg_depend d on d.classid = 'pg_operator'::regclass and d.objid = o.oid and d.deptype = 'e'
        join pg_depend t on t.classid = 'pg_type'::regclass and t.objid = o.oprleft and t.deptype = 'e'
                         and t.refobjid = d.refobjid
        where o.oprname = operator and o.oprleft = operand.base and o.oprright = o.oprleft
    ), format('%s::pg_catalog.text operator(pg_catalog.%s) %L::pg_catalog.text',
        case when operand.kind = 'json'
             then format('(%s operator(pg_catalog.#>>) ''{}'')', operand.expression)
             else operand.expression end, operator, pattern #>> '{}'))
$$;
