-- The semantic leg: the `wanted` nearest rows (of each its nearest chunk) or chunks that pass the filter, complete. It
-- begins with the index, or with an exact scan where the planner expects so few matches that this costs less. An index
-- scan that visits more rows than it was allowed is followed by an exact one.
create or replace function pgembedd_internal._search_nearest(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked,
    out hits pgembedd_internal._search_hit[], out path text, out breadth integer, out visits integer,
    out rows double precision
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wanted integer := asked.wanted;
    plan record;
    scanned text;
    settings text[];
    seen integer;
    visited bigint;
begin
    breadth := case when asked.per = 'row' and target.chunked then 4 * wanted  -- the chunks of one row come together
                    else wanted end;
    plan := _search_path(target, asked, breadth);
    path := plan.path;
    visits := plan.visits;
    rows := plan.rows;
    scanned := path;
    loop
        if visits is not null then visited := _search_visited(target.vectors); end if;
        settings := _search_set(_search_settings(breadth, visits, rows));
        execute _search_statement(target, asked, scanned) into hits, seen using asked.embedding, breadth;
        settings := _search_set(settings);
        if visits is not null then visited := _search_visited(target.vectors) - visited; end if;
        -- The end of an index scan that went further is what it had met by the way: its recall is poor.
        if scanned = 'exact' or coalesce(visited <= visits, true) then
            exit when cardinality(hits) >= wanted or scanned = 'exact' and seen < breadth;
            if seen >= breadth then
                breadth := 4 * breadth;
                visits := least(4 * visits, 50000000);
                continue;
            end if;
        end if;
        scanned := 'exact';
        path := 'index, then exact';
        if asked.mode = 'semantic' then  -- an exact list is right at every length, so it is as long as the page needs
            wanted := greatest(wanted, least(1000, asked.skip + asked.k));
            breadth := greatest(breadth, wanted);
        end if;
    end loop;
    if asked.min_similarity is not null then
        wanted := least(wanted, (select count(*) from unnest(hits) h where h.similarity >= asked.min_similarity));
    end if;
    hits := hits[:wanted];
end $$;

-- The rows that scans of a table's indexes have led to in this transaction, from the server's own counters
-- (track_counts): a query cannot count the rows that a policy or a filter drops within the scan.
create or replace function pgembedd_internal._search_visited(vectors oid) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index i
            where i.indrelid = any (array(select vectors union all select p.relid from pg_partition_tree(vectors) p)));
end $$;

-- Sets pgvector's settings for scans, those that are there and are given. Returns the ones of before, which are the
-- caller's: they are set again afterwards (an error resets them, too).
create or replace function pgembedd_internal._search_set(settings text[]) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    names constant text[] := '{hnsw.ef_search,hnsw.iterative_scan,hnsw.max_scan_tuples,hnsw.scan_mem_multiplier}';
    before text[];
    ignored text;
begin
    for i in 1 .. cardinality(names) loop
        -- Null before pgvector is loaded; 0.8 brought all but the first.
        before[i] := current_setting(names[i], true);
        if before[i] <> settings[i] then ignored := set_config(names[i], settings[i], true); end if;
    end loop;
    return before;
end $$;

-- In the order of _search_set(). With `visits`, the scan may come to four times as many distances, which suffices for
-- those rows, and to the memory for them; beyond, pgvector returns what it has met, without a look further.
create or replace function pgembedd_internal._search_settings(breadth integer, visits integer, rows double precision)
returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array[
        -- With fewer, some questions find none of their ten nearest among so many rows (decision 9). Under a filter the
        -- matches are a part of what is near.
        greatest(current_setting('hnsw.ef_search', true)::integer, least(1000, greatest(200, 200 * sqrt(rows / 100000),
            case when visits is null then 2 else 4 end * breadth))::integer)::text,
        'relaxed_order',
        coalesce(4 * visits, 50000)::text,
        greatest(current_setting('hnsw.scan_mem_multiplier', true)::float8,
                 least(1000, 128 * 1024 ^ 2 / pg_size_bytes(current_setting('work_mem'))))::text];
end $$;

-- The array of hits and how many were within the `breadth`, which is $2; $1 is the vector. Adding 0 keeps the planner
-- from the index, and from taking what the index gives for sorted: it compares rounded vectors, and an iterative scan
-- goes on with nearer ones. The key becomes JSON after the LIMIT; within it that would be done for every row that an
-- exact scan compares. Of a row that is found as one, the nearest chunk remains. Hits at one distance are in the order
-- of their keys, whatever the breadth: an index scan, which has no order of theirs, ends with the last of them.
create or replace function pgembedd_internal._search_statement(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, path text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    of_row constant boolean := asked.per = 'row' and target.chunked;
    alias constant text := target.alias;
begin
    return _render($q$
        with found as materialized (select {columns}, {distance} as {own} from {from} {within})
        select coalesce(pg_catalog.array_agg(row (o.key, o.chunk_index, {similarity}, {similarity}, o.nth, null, null)
                                             ::pgembedd_internal._search_hit), '{}'),
               (select pg_catalog.count(*) from found)
        from (select {key} as key, {chunk_index} as chunk_index, {alias}.{own} as distance,
                     pg_catalog.row_number() over (order by {alias}.{own} operator(pg_catalog.+) 0, {columns}) as nth
              from {ranked} {alias}) o $q$, jsonb_build_object(
        'own', quote_ident(target.own), 'alias', alias, 'columns', format(target.hit_columns, alias),
        'distance', format(target.distance_to, alias, 1), 'from', _search_from(target, asked, path),
        'within', format(case path when 'index' then 'order by %1$s fetch first ($2) rows with ties'
                                   else 'order by %1$s operator(pg_catalog.+) 0, %2$s limit $2' end,
                         format(target.distance_to, alias, 1), format(target.hit_columns, alias)),
        'similarity', format(target.similarity_at, 'o.distance'), 'key', format(target.key_json, alias),
        'chunk_index', target.chunk_index, 'ranked', case when of_row then format(
            '(select distinct on (%1$s) v.* from found v '
            'order by %1$s, v.%2$I operator(pg_catalog.+) 0, v.chunk_index)',
            format(target.key_columns, 'v'), target.own) else 'found' end));
end $$;

-- Within an index scan each row of the source is looked up by its key: OFFSET keeps the planner from reading them all.
create or replace function pgembedd_internal._search_from(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, path text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not target.chunked then
        return format('%s s where s.%s is not null and (%s)', target.source, target.embedding, asked.near_condition);
    end if;
    return format(case path when 'index' then '%s v where exists (select from %s s where %s and (%s) offset 0)'
                            else '%s v join %s s on %s where (%s)' end,
                  target.vectors, target.source, format(target.key_match, 's', 'v'), asked.near_condition);
end $$;

-- Which scan costs less, of how many rows. The index visits about breadth * rows / matches rows. `visits` bounds them:
-- twice as many, or more where a scan in vain takes about as long as the exact one that follows it; null where
-- nothing filters. Without an index there is one way. Volatile, as only such may EXPLAIN.
create or replace function pgembedd_internal._search_path(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, breadth integer,
    out path text, out visits integer, out rows double precision
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    visit_cost constant double precision := 8;  -- in the planner's units: ten distances, to rows that lie anywhere
    vain_visit_cost constant double precision := 16;  -- beyond the bound, all that was met by the way is looked up
    most constant integer := 20000;  -- what a scan visits before it costs memory and half a second
    vectors constant regclass := target.vectors;
    plan json;
    matches double precision;
    expected double precision;
    exact_cost double precision;
begin
    select sum(greatest(c.reltuples, 0)), case when bool_or(exists (
               select from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am a on a.oid = x.relam
               where i.indrelid = c.oid and i.indisvalid and a.amname in ('hnsw', 'ivfflat')))
           then 'index' else 'exact' end
    into rows, path from pg_class c
    where c.relkind = 'r'
      and c.oid = any (array(select vectors union all select p.relid from pg_partition_tree(vectors) p));
    if path = 'exact' or asked.near_condition = 'true' and not row_security_active(vectors) then return; end if;
    execute 'explain (format json) select from ' || _search_from(target, asked, 'exact') into plan;
    matches := greatest((plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision, 1);  -- of a false condition it is 0
    exact_cost := plan -> 0 -> 'Plan' ->> 'Total Cost';
    expected := breadth * greatest(rows, matches) / matches;
    visits := least(most, greatest(2 * expected, exact_cost / vain_visit_cost));
    if exact_cost <= visit_cost * expected or 2 * expected > most then
        path := 'exact';
    end if;
end $$;
