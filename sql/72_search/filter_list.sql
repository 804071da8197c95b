-- A list of values is one array, which is read once and hashed, and not a condition for each of its members.

create or replace function pgembedd._search_one_of(operand jsonb, choices jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    has_null constant boolean := choices @> '[null]';
    listed text;
begin
    perform _check_search_list(operand, choices);
    if operand ->> 'kind' = 'array' then  -- arrays of several lengths make no array
        return coalesce((select format('(%s)', string_agg(_search_equals(operand, v), ' or '))
                         from jsonb_array_elements(choices) v), 'false');
    elsif operand ->> 'kind' = 'json' then
        listed := _search_json_one_of(operand, choices);
    elsif choices <> '[]' and choices <> '[null]' then
        listed := format('%s %s any (%s)', operand ->> 'expression', operand -> 'operators' ->> '3',
                         _search_list(operand, choices));
    end if;
    return format('(%s)', concat_ws(' or ', coalesce(listed, case when not has_null then 'false' end),
                                    case when has_null then _search_equals(operand, 'null') end));
end $$;

create or replace function pgembedd._check_search_list(operand jsonb, choices jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    written bigint;
begin
    -- A number has few bytes in JSON and may have a hundred thousand digits.
    select sum(length(v)) into written from jsonb_array_elements_text(choices) v;
    if written > _most('filter') then
        raise exception using message = format('The values of "%s" in the filter have %s characters, more than %s.',
            operand ->> 'name', written, _most('filter')),
            hint = 'Give fewer values, or join the hits with a table of them.', errcode = '22023';
    elsif operand ->> 'kind' = 'array' and jsonb_array_length(choices) > _most_members('filter') then
        raise exception using
            message = format('"%s" is compared with %s arrays, and at most %s are taken.', operand ->> 'name',
            jsonb_array_length(choices), _most_members('filter')),
            hint = '$contains looks for values within arrays.', errcode = '22023';
    end if;
end $$;

-- The values as a literal of an array of the column's type. It is tried here, as one value is.
create or replace function pgembedd._search_list(operand jsonb, choices jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    members constant text[] := array(
        select case jsonb_typeof(v) when 'number' then trim_scale((v #>> '{}')::numeric)::text else v #>> '{}' end
        from jsonb_array_elements(choices) v where jsonb_typeof(v) <> 'null');
    literal constant text := _search_array_literal(operand, members);
    unread text;
begin
    if not jsonb_path_exists(choices, 'strict $[*] ? (@.type() == "array" || @.type() == "object")')
       and _search_reads(literal) then
        return literal;
    end if;
    unread := _search_unread(operand, members);
    return _search_literal(operand, (  -- as it was given; it is refused with its own sentence
        select v from jsonb_array_elements(choices) v
        where jsonb_typeof(v) in ('array', 'object') or unread = case jsonb_typeof(v)
            when 'number' then trim_scale((v #>> '{}')::numeric)::text else v #>> '{}' end limit 1));
end $$;

-- In quotes, and between them what the type's arrays have between their members.
create or replace function pgembedd._search_array_literal(operand jsonb, members text[]) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    between_members constant text := (select t.typdelim from pg_type t where t.oid = (operand ->> 'base')::oid);
    listed constant text := (
        select string_agg('"' || regexp_replace(m, E'(["\\\\])', E'\\\\\\1', 'g') || '"', between_members)
        from unnest(members) m);
begin
    return format('%L::%s[]', '{' || listed || '}', operand ->> 'written')
        || case when operand -> 'written' = operand -> 'type' then '' else format('::%s[]', operand ->> 'type') end;
end $$;

create or replace function pgembedd._search_reads(literal text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute 'select ' || literal;
    return true;
exception when data_exception or syntax_error_or_access_rule_violation then return false;
end $$;

-- One of the values that the type does not read, found by halves.
create or replace function pgembedd._search_unread(operand jsonb, members text[]) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    half integer;
begin
    while cardinality(members) > 1 loop
        half := cardinality(members) / 2;
        members := case when _search_reads(_search_array_literal(operand, members[:half]))
                        then members[half + 1:] else members[:half] end;
    end loop;
    return members[1];
end $$;

-- Containment is what a GIN index answers for a few values; many are looked up by their hash. A literal of an array of
-- them would take two kilobytes for each while it is read; IS TRUE keeps the planner from joining.
create or replace function pgembedd._search_json_one_of(operand jsonb, choices jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if jsonb_array_length(choices) <= 100 then
        return (select string_agg(_search_json_equals(operand, v), ' or ') from jsonb_array_elements(choices) v
                where v <> 'null');
    end if;
    return format('(%s operator(pg_catalog.=) any ('
                  'select v from pg_catalog.jsonb_array_elements(%L::pg_catalog.jsonb) v '
                  'where v operator(pg_catalog.<>) ''null'')) is true', operand ->> 'expression', choices);
end $$;
