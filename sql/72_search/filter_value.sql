-- A list of values is one array, which is read once and hashed, and not a condition for each of its members. In JSON
-- containment is what a GIN index answers for a few values; many are looked up by their hash. A literal of an array of
-- them would take two kilobytes for each while it is read; IS TRUE keeps the planner from joining.
create or replace function pgembedd_internal._search_one_of(
    operand pgembedd_internal._search_operand, choices jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    has_null constant boolean := choices @> '[null]';
    members constant jsonb[] := array(select v from jsonb_array_elements(choices) v where v <> 'null');
    listed text := 'false';
    ignored text;
begin
    ignored := _check_search_list(operand, choices);
    if operand.kind = 'json' and jsonb_array_length(choices) > 100 then
        listed := format('(%s operator(pg_catalog.=) any ('
                         'select v from pg_catalog.jsonb_array_elements(%L::pg_catalog.jsonb) v '
                         'where v operator(pg_catalog.<>) ''null'')) is true', operand.expression, choices);
    elsif members <> '{}' and operand.kind = 'plain' then
        listed := format('%s %s any (%s)', operand.expression, operand.operators[3], _search_list(operand, members));
    elsif members <> '{}' then  -- arrays of several lengths make no array
        listed := (select string_agg(_search_equals(operand, m), ' or ') from unnest(members) m);
    end if;
    return format('(%s)', concat_ws(' or ', listed, case when has_null then _search_equals(operand, 'null') end));
end $$;

create or replace function pgembedd_internal._check_search_list(
    operand pgembedd_internal._search_operand, choices jsonb
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    written bigint;
begin
    -- A number has few bytes in JSON and may have a hundred thousand digits.
    select sum(length(v)) into written from jsonb_array_elements_text(choices) v;
    if written > _most('filter') then
        raise exception using message = format('The values of "%s" in the filter have %s characters, more than %s.',
            operand.name, written, _most('filter')),
            hint = 'Give fewer values, or join the hits with a table of them.', errcode = 'program_limit_exceeded';
    elsif operand.kind = 'array' and jsonb_array_length(choices) > _most_members('filter') then
        raise exception using
            message = format('"%s" is compared with %s arrays, and at most %s are taken.', operand.name,
            jsonb_array_length(choices), _most_members('filter')),
            hint = '$contains looks for values within arrays.', errcode = 'program_limit_exceeded';
    end if;
end $$;

-- The values as a literal of an array of the column's type, with between them what its arrays have. It is tried here,
-- and where the type does not read one of them, its halves are, until that one is refused alone.
create or replace function pgembedd_internal._search_list(
    operand pgembedd_internal._search_operand, members jsonb[]
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    half constant integer := cardinality(members) / 2;
    literal text;
    ignored text;
begin
    select format('%L::%s[]', '{' || string_agg('"' || regexp_replace(case jsonb_typeof(m)
                      when 'number' then trim_scale((m #>> '{}')::numeric)::text else m #>> '{}' end,
                      E'(["\\\\])', E'\\\\\\1', 'g') || '"', t.typdelim::text) || '}', operand.written)
           || case when operand.written <> operand.type then format('::%s[]', operand.type) else '' end
    into literal from unnest(members) m, pg_type t where t.oid = operand.base group by t.typdelim;
    begin
        if not array['array', 'object'] && array(select jsonb_typeof(m) from unnest(members) m) then
            execute 'select ' || literal;
            return literal;
        end if;
    exception when data_exception or syntax_error_or_access_rule_violation then null;
    end;
    if half = 0 then return _search_literal(operand, members[1]); end if;
    ignored := _search_list(operand, members[:half]);
    return _search_list(operand, members[half + 1:]);
end $$;

-- The value as a literal of the column's type. It is tried here, so that one that the type does not take is refused
-- with a sentence of ours.
create or replace function pgembedd_internal._search_literal(
    operand pgembedd_internal._search_operand, value jsonb
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    literal text := format('%L::%s', case when jsonb_typeof(value) = 'number'
        then trim_scale((value #>> '{}')::numeric)::text else value #>> '{}' end, operand.written);
    refusal text;
begin
    if operand.kind = 'array' and jsonb_typeof(value) = 'array' then
        literal := format('%L::%s', array(select e from jsonb_array_elements_text(value) with ordinality as t(e, nth)
                                          order by nth), operand.written);
    end if;
    if jsonb_typeof(value) = 'array' and operand.kind <> 'array' or jsonb_typeof(value) = 'object' then
        refusal := 'Several values go with $in, $nin and $between.';
    elsif jsonb_typeof(value) = 'array'
          and jsonb_path_exists(value, 'strict $[*] ? (@.type() == "array" || @.type() == "object")') then
        refusal := 'Arrays and objects within an array cannot be compared.';
    elsif operand.base in (25, 1043) or operand.base in (20, 23, 1700) and value #>> '{}' ~ '^[0-9]{1,9}$' then
        null;  -- which these take
    else
        begin
            execute 'select ' || literal;
        exception when data_exception or syntax_error_or_access_rule_violation then
            refusal := _cut(sqlerrm || '.');
        end;
    end if;
    if refusal is not null then
        raise exception using message = format('The filter compares "%s", which is %s, with %s.', operand.name,
            operand.type_name, _shortened(value)),
            hint = refusal, errcode = 'invalid_parameter_value';
    end if;
    return case when operand.written = operand.type then literal else format('%s::%s', literal, operand.type) end;
end $$;
