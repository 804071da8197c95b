-- `pgembedd verify` takes keys from here, reads their rows (rows.sql), embeds the contents again and compares. The
-- caller must be able to act for pgembedd's owner and the table's; the tables are read as their owner.

-- Refuses to verify a pipeline whose vectors cannot be read.
create or replace function pgembedd_internal._check_verify(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text := _check_problem(made, 'The pipeline "%s" cannot be verified: %s');
begin
    perform _check_owner(made);
end $$;

-- An estimate of the number of rows: of all partitions, by their present size, without a scan. Fifty go on a page where
-- nothing was ever analysed.
create or replace function pgembedd_internal._estimated_rows(source regclass) returns bigint
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select coalesce(sum(l.pages * coalesce(l.density, 50)), 0)::bigint from _leaves(source) l $$;

-- Up to `wanted` keys at random, the same ones for the same seed while the table stays as it is. A small table is read
-- whole. Of a large one blocks are drawn, many more rows than are wanted so that neighbours seldom come together; more
-- blocks if those were empty. Keys are drawn by hash, so that what is read first has no better chance than the rest.
-- With `orphans` the keys of chunks are drawn, and those come that no row of the source has.
create or replace function pgembedd_internal._sample_keys(
    name text, wanted integer, seed bigint, orphans boolean default false
) returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    relation regclass := case when orphans then one.embedding_table else one.source end;
    estimated bigint := greatest(_estimated_rows(relation), 1);
    percent double precision := case when estimated <= 100000 then 100
                                     else least(100, 100.0 * 20 * wanted / estimated) end;
    keys jsonb;
begin
    loop
        keys := _ask(one, _render($q$
            select pg_catalog.jsonb_agg(w.id) from (
                select d.id from (select {key} as id from {relation} s {tablesample} limit {most}) d
                group by d.id order by pg_catalog.hashtextextended(d.id::pg_catalog.text, {seed}), d.id
                limit {wanted}) w
            $q$, jsonb_build_object(
            'key', _key_json(one.source, 's'), 'relation', relation, 'wanted', wanted, 'seed', seed, 'tablesample',
            case when percent < 100 then format('tablesample system (%s) repeatable (%s)', percent, seed) end,
            -- Where the estimate is far too low, a bounded part of the table is the sample.
            'most', greatest(1000000, 200::bigint * wanted))));
        keys := coalesce(nullif(keys, 'null'), '[]');
        exit when percent >= 100 or jsonb_array_length(keys) >= wanted;
        percent := least(100, percent * 8);
    end loop;
    if orphans then
        keys := _ask(one, format('select coalesce(pg_catalog.jsonb_agg(i.id), ''[]'')
                                  from pg_catalog.jsonb_array_elements(%L) as i(id) cross join lateral %s
                                  where not exists (select from %s s where %s)',
            keys, _key_record(one.source, 'i.id'), one.source, _key_match(one.source, 's', 'k')));
    end if;
    -- A key that is no UTF-8 can be sent to no worker: its row is a dead letter.
    return query select k from jsonb_array_elements(keys) k where _shown(k) = k;
end $$;

-- The keys after `after` in the order of the primary key, null for the first; a page of at most so many. With `orphans`
-- it goes through the chunks that no row of the source has; a key comes once for each of its chunks then.
create or replace function pgembedd_internal._next_keys(
    name text, after jsonb, at_most integer, orphans boolean default false
) returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    page jsonb;
begin
    loop
        page := _ask(one, _render($q$
            select coalesce(pg_catalog.jsonb_agg(p.id), '[]') from {after} (
                select {key} as id from {relation} s where {later} {orphans} order by {by_key} limit {at_most}) p
            $q$, jsonb_build_object(
            'after', case when after is not null then _key_record(one.source, quote_literal(after)
                          || '::pg_catalog.jsonb') || ' cross join lateral' end,
            'key', _key_json(one.source, 's'), 'at_most', at_most, 'by_key', o.by_key,
            'relation', case when orphans then one.embedding_table else one.source end,
            'later', case when after is not null then o.later else 'true' end,
            'orphans', case when orphans then format('and not exists (select from %s x where %s)', one.source,
                                                     _key_match(one.source, 'x', 's')) end)))
        from _key_order(one.source) o;
        return query select k from jsonb_array_elements(page) k where _shown(k) = k;
        exit when found or page = '[]';
        after := page -> -1;  -- none of these can be sent: their rows are dead letters
    end loop;
end $$;
