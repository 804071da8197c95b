-- The options of a search that few callers change, as one JSON object, so that another one changes no signature: with
-- their types and bounds, and what holds for one that is not given or null. worker/pgembedd/search/options.py declares
-- the same, and a test compares.
create or replace function pgembedd_internal._search_with_options(
    asked pgembedd_internal._asked, options jsonb, known text[]
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text;
    unknown text;
begin
    asked.semantic_weight := 1;
    asked.text_weight := 1;
    asked.rrf_k := 60;
    asked.snippet_length := 200;
    asked.snippet_marks := '{**,**}';
    if options is null or options = '{}' then return asked; end if;
    ignored := _check_json('options', options);
    unknown := case when jsonb_typeof(options) = 'object' then (
        select k from jsonb_object_keys(options) k where k <> all (known) order by k limit 1) else '' end;
    if unknown is not null then
        raise exception using
            message = case when jsonb_typeof(options) <> 'object' then 'The options are no JSON object.'
                           else format('The option %s is not known.', _shortened(to_jsonb(unknown))) end,
            hint = format('It takes %s: for example {"snippet_length": 300}.', array_to_string(known, ', ')),
            errcode = 'invalid_parameter_value';
    end if;
    asked.semantic_weight := _search_number(options, 'semantic_weight', asked.semantic_weight, 0, 1e6);
    asked.text_weight := _search_number(options, 'text_weight', asked.text_weight, 0, 1e6);
    if greatest(asked.semantic_weight, asked.text_weight) < 1e-6 then
        raise exception using message = 'Both semantic_weight and text_weight are 0.',
            hint = 'One of them is 0.000001 or more.', errcode = 'invalid_parameter_value';
    end if;
    asked.rrf_k := _search_number(options, 'rrf_k', asked.rrf_k, 1, 10000, whole => true);
    asked.snippet_length := _search_number(options, 'snippet_length', asked.snippet_length, 0, 10000, whole => true);
    asked.snippet_marks := coalesce(_search_marks(nullif(options -> 'snippet_marks', 'null')), asked.snippet_marks);
    ignored := _check_texts('{snippet_marks,snippet_marks}', asked.snippet_marks);
    return asked;
end $$;

-- Those of search(); similar() has fewer.
create or replace function pgembedd_internal._search_options() returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select '{semantic_weight,text_weight,rrf_k,snippet_length,snippet_marks}'::text[] $$;

create or replace function pgembedd_internal._search_number(
    options jsonb, name text, otherwise double precision, lowest numeric, highest numeric, whole boolean default false
) returns double precision
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    given constant jsonb := nullif(options -> name, 'null');
begin
    if given is null then return otherwise; end if;
    if jsonb_typeof(given) <> 'number' or given::numeric not between lowest and highest
       or whole and given::numeric <> trunc(given::numeric) then
        raise exception using message = format('The option %s is %s.', name, _shortened(given)),
            hint = format('It is a %s from %s to %s.', case when whole then 'whole number' else 'number' end,
                          lowest, highest), errcode = 'invalid_parameter_value';
    end if;
    return given::double precision;
end $$;

-- What stands before and after a word in a snippet.
create or replace function pgembedd_internal._search_marks(given jsonb) returns text[]
language plpgsql immutable strict
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if jsonb_typeof(given) <> 'array' or jsonb_array_length(given) <> 2
       or jsonb_typeof(given -> 0) <> 'string' or jsonb_typeof(given -> 1) <> 'string' then
        raise exception using message = format('The option snippet_marks is %s.', _shortened(given)),
            hint = 'It is two texts, put before and after a word: for example ["<b>", "</b>"].',
            errcode = 'invalid_parameter_value';
    end if;
    return array[given ->> 0, given ->> 1];
end $$;
