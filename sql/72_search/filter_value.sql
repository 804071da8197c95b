-- The value as a literal of the column's type. It is tried here, so that one that the type does not take is refused
-- with a sentence of ours.
create or replace function pgembedd._search_literal(operand jsonb, value jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    literal text := format('%L::%s', case
        when operand ->> 'kind' = 'array' and jsonb_typeof(value) = 'array' then _array_text(value)
        when jsonb_typeof(value) = 'number' then trim_scale((value #>> '{}')::numeric)::text
        else value #>> '{}' end, operand ->> 'written');
    refusal text;
begin
    if jsonb_typeof(value) = 'array' and operand ->> 'kind' <> 'array' or jsonb_typeof(value) = 'object' then
        refusal := 'Several values go with $in, $nin and $between.';
    elsif exists (select from jsonb_path_query(value, 'strict $[*].type()', silent => true) t
                  where jsonb_typeof(value) = 'array' and t #>> '{}' in ('array', 'object')) then
        refusal := 'Arrays and objects within an array cannot be compared.';
    else
        begin
            execute 'select ' || literal;
        exception when data_exception or syntax_error_or_access_rule_violation then
            refusal := _cut(sqlerrm || '.');
        end;
    end if;
    if refusal is not null then
        raise exception using message = format('The filter compares "%s", which is %s, with %s.', operand ->> 'name',
            operand ->> 'type_name', _shortened(value)),
            hint = refusal, errcode = '22023';
    end if;
    return case when operand -> 'written' = operand -> 'type' then literal
                else format('%s::%s', literal, operand ->> 'type') end;
end $$;

-- What an array or a JSON value is to contain; a single value stands for an array of it.
create or replace function pgembedd._search_part(operand jsonb, value jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if operand ->> 'kind' = 'json' then
        return format('%L::pg_catalog.jsonb', value);
    end if;
    return _search_literal(operand, case jsonb_typeof(value) when 'array' then value
                                         else jsonb_build_array(value) end);
end $$;

create or replace function pgembedd._array_text(elements jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array(select e from jsonb_array_elements_text(elements) with ordinality as t(e, nth) order by nth)::text
$$;

-- Containment is what an index on jsonb answers; a path with a number may lead into an array, which it cannot say.
create or replace function pgembedd._search_json_equals(operand jsonb, value jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    path text[] := array(select p from jsonb_array_elements_text(operand -> 'path') with ordinality as t(p, nth)
                         order by nth desc);
    name text;
begin
    if value = 'null' then
        return format('(%1$s is null or %1$s operator(pg_catalog.=) ''null''::pg_catalog.jsonb)',
            operand ->> 'expression');
    elsif not (operand -> 'contained')::boolean or jsonb_typeof(value) in ('array', 'object') then
        return format('%s operator(pg_catalog.=) %L::pg_catalog.jsonb', operand ->> 'expression', value);
    end if;
    foreach name in array path loop
        value := jsonb_build_object(name, value);
    end loop;
    return format('%s operator(pg_catalog.@>) %L::pg_catalog.jsonb', operand ->> 'column', value);
end $$;

-- In JSON only values of one type have an order among each other.
create or replace function pgembedd._search_json_compared(operand jsonb, strategy integer, value jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('(pg_catalog.jsonb_typeof(%1$s) operator(pg_catalog.=) %2$L and %1$s operator(pg_catalog.%3$s) '
                  '%4$L::pg_catalog.jsonb)', operand ->> 'expression', jsonb_typeof(value),
                  (array['<', '<=', '=', '>=', '>'])[strategy], value)
$$;
