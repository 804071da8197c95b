-- Compares the two sides of a change of model: coverage, and the recall of each index against an exact search, measured
-- on its own vectors; `agreement` is how many of the nearest rows are the same on both sides.
create or replace function pgembedd.compare_models(
    inout pipeline text, sample integer default 20, k integer default 10,
    out model text, out rows_embedded bigint, out rows_missing bigint, out index text, out recall numeric,
    out agreement numeric
) returns setof record
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set row_security = off
-- The settings of _key_settings.
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'
set bytea_output = 'hex'
as $$
declare
    current pgembedd_internal.pipeline := _pipeline(pipeline);
    successor pgembedd_internal.pipeline := _shadow(current);
    side pgembedd_internal.pipeline;
    keys jsonb[];
begin
    if successor.id is null then
        raise exception using message = format('"%s" stands alone; there is nothing to compare it with.', current.name),
            hint = 'Begin with pgembedd.change_model().', errcode = 'object_not_in_prerequisite_state';
    elsif sample is null or sample not between 1 and 1000 or k is null or k not between 1 and 100 then
        raise exception using message = format('sample = %s and k = %s do not make a comparison.',
                coalesce(sample::text, 'NULL'), coalesce(k::text, 'NULL')),
            hint = 'sample goes from 1 to 1000, k from 1 to 100.', errcode = 'invalid_parameter_value';
    end if;
    keys := array(select jsonb_array_elements(_ask(current, format(
        'select coalesce(pg_catalog.jsonb_agg(r.key), ''[]'') from (select %s as key from %s s '
        'where not (%s) and not (%s) order by pg_catalog.random() limit %s) r',
        _key_json(current.source, 's'), current.source, _lacks_vector(current), _lacks_vector(successor), sample))));
    agreement := _agreement(current, successor, keys, k, by_index => false);
    foreach side in array array[current, successor] loop
        pipeline := side.name; model := side.model; index := _index_state(side);
        select c.seen - c.lacking, c.lacking - c.blank into rows_embedded, rows_missing
        from _count_lacking(side, 100) c;
        recall := _agreement(side, side, keys, k, by_index => true);
        return next;
    end loop;
end $$;
comment on function pgembedd.compare_models is
    'Both sides of a change of model: coverage, and for a sample of '
    'rows how many of the k nearest the index finds, and how many agree.';

-- How many of the k rows nearest to each of those keys, in exact order, are among those of the other side, on average.
create or replace function pgembedd_internal._agreement(
    pipeline pgembedd_internal.pipeline, other pgembedd_internal.pipeline, keys jsonb[], k integer, by_index boolean
) returns numeric
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select round(avg(a.share), 3)
    from unnest(keys) as s(key)
    cross join lateral (
        select count(*) filter (where w = any (o.keys))::numeric / nullif(count(*), 0) as share
        from (select _nearest_keys(other, s.key, k, by_index) as keys offset 0) o,
             unnest(_nearest_keys(pipeline, s.key, k, false)) w) a
$$;

-- The keys of the k rows nearest to the vectors of a row.
create or replace function pgembedd_internal._nearest_keys(
    pipeline pgembedd_internal.pipeline, key jsonb, k integer, by_index boolean
) returns jsonb[]
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_indexscan = on set enable_seqscan = on  -- restored on return
as $$
begin
    perform set_config(case when by_index then 'enable_seqscan' else 'enable_indexscan' end, 'off', true);
    return array(select jsonb_array_elements(_ask(pipeline, _render($q$
        select pg_catalog.to_jsonb(array(
            select {key} from {vectors} n where n.{column} is not null
            order by n.{column} {distance} (
                select o.{column} from {vectors} o, {key_record} where {is_row} and o.{column} is not null limit 1)
            limit {k}))$q$, jsonb_build_object(
        'key', _key_json(pipeline.source, 'n'), 'vectors', _target(pipeline),
        'column', quote_ident(_vector_column(pipeline)), 'distance', _distance_operator(pipeline.distance),
        'key_record', _key_record(pipeline.source, quote_literal(key) || '::pg_catalog.jsonb'),
        'is_row', _key_match(pipeline.source, 'o', 'k'), 'k', k)))));
end $$;
