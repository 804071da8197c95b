-- The semantic leg: the `wanted` nearest rows (of each its nearest chunk) or chunks that pass the filter, complete. It
-- begins with the index, or with an exact scan where the planner expects so few matches that this costs less. An index
-- scan that visits more rows than it was allowed is followed by an exact one.

create or replace function pgembedd._search_nearest(
    target jsonb, embedding @extschema:vector@.vector, wanted integer, filter text, per_row boolean,
    min_similarity double precision,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out path text, out breadth integer,
    out visits integer, out rows double precision
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    plan record;
    scan record;
    scanned text;
begin
    per_row := per_row and (target -> 'chunked')::boolean;
    breadth := case when per_row then 4 * wanted else wanted end;  -- the chunks of one row come together
    plan := _search_path(target, filter, breadth);
    path := plan.path;
    visits := plan.visits;
    rows := plan.rows;
    scanned := path;
    loop
        scan := _search_scan(target, embedding, breadth, visits, rows, filter, scanned, per_row);
        -- The end of an index scan that went further is what it had met by the way: its recall is poor.
        if scanned = 'exact' or coalesce(scan.visited <= visits, true) then
            exit when cardinality(scan.keys) >= wanted or scanned = 'exact' and scan.seen < breadth;
            if scan.seen = breadth then
                breadth := 4 * breadth;
                visits := least(4 * visits, 50000000);
                continue;
            end if;
        end if;
        scanned := 'exact';
        path := 'index, then exact';
    end loop;
    if min_similarity is not null then
        wanted := least(wanted, (select count(*) from unnest(scan.similarities) as s where s >= min_similarity));
    end if;
    keys := scan.keys[:wanted];
    chunk_nos := scan.chunk_nos[:wanted];
    similarities := scan.similarities[:wanted];
end $$;

-- One scan: the `breadth` nearest, of which `seen` were there; with per_row one chunk of each row remains. `visited` is
-- how many rows the index led to, where `visits` bounds them.
create or replace function pgembedd._search_scan(
    target jsonb, embedding @extschema:vector@.vector, breadth integer, visits integer, rows double precision,
    filter text, path text, per_row boolean,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out seen integer,
    out visited bigint
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    before constant text[] := _search_settings(breadth, visits, rows);
    visited_before bigint;
begin
    if visits is not null then visited_before := _search_visited((target ->> 'vectors_oid')::oid); end if;
    execute _search_statement(target, filter, path, per_row) into keys, chunk_nos, similarities, seen
    using embedding, breadth;
    if visits is not null then visited := _search_visited((target ->> 'vectors_oid')::oid) - visited_before; end if;
    perform _search_restore(before);
end $$;

-- The rows that scans of a table's indexes have led to in this transaction, from the server's own counters
-- (track_counts): a query cannot count the rows that a policy or a filter drops within the scan.
create or replace function pgembedd._search_visited(vectors oid) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index i
            where i.indrelid = any (array(select vectors union all select p.relid from pg_partition_tree(vectors) p)));
end $$;

-- pgvector's settings for a scan. With `visits`, the scan may come to four times as many distances, which suffices for
-- those rows, and to the memory for them; beyond, pgvector returns what it has met, without a look further. Returns
-- the settings of the caller, which are theirs again afterwards (an error resets them, too). Null before pgvector is
-- loaded, and before 0.8, which has no iterative scan.
create or replace function pgembedd._search_settings(breadth integer, visits integer, rows double precision)
returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    ef_search constant text := current_setting('hnsw.ef_search', true);
    -- With fewer, some questions find none of their ten nearest among so many rows (decision 9). Under a filter the
    -- matches are a part of what is near.
    wanted constant integer := least(1000, greatest(200, 200 * sqrt(rows / 100000),
                                                    case when visits is null then 2 else 4 end * breadth));
    iterative_scan constant text := current_setting('hnsw.iterative_scan', true);
    max_scan_tuples constant text := current_setting('hnsw.max_scan_tuples', true);
    scan_memory constant text := current_setting('hnsw.scan_mem_multiplier', true);
    ignored text;
begin
    if ef_search::integer < wanted then
        ignored := set_config('hnsw.ef_search', wanted::text, true);
    end if;
    if iterative_scan is not null then
        ignored := set_config('hnsw.iterative_scan', 'relaxed_order', true);
        ignored := set_config('hnsw.max_scan_tuples', coalesce(4 * visits, 10000000)::text, true);
        ignored := set_config('hnsw.scan_mem_multiplier', greatest(scan_memory::float8, least(1000,
            128 * 1024 ^ 2 / pg_size_bytes(current_setting('work_mem'))))::text, true);
    end if;
    return array[ef_search, iterative_scan, max_scan_tuples, scan_memory];
end $$;

create or replace function pgembedd._search_restore(before text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    ignored text;
begin
    if before[1] is not null then ignored := set_config('hnsw.ef_search', before[1], true); end if;
    if before[2] is not null then
        ignored := set_config('hnsw.iterative_scan', before[2], true);
        ignored := set_config('hnsw.max_scan_tuples', before[3], true);
        ignored := set_config('hnsw.scan_mem_multiplier', before[4], true);
    end if;
end $$;

-- $1 is the vector, $2 how many are wanted. Adding 0 keeps the planner from the index, and from taking what the index
-- gives for sorted: it compares rounded vectors, and an iterative scan goes on with nearer ones. The key becomes JSON
-- after the LIMIT; within it that would be done for every row that an exact scan compares.
create or replace function pgembedd._search_statement(
    target jsonb, filter text, path text, per_row boolean
) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    chunked constant boolean := target -> 'chunked';
    alias constant text := case when chunked then 'v' else 's' end;
    distance constant text := format('%s.%s %s $1::%s', alias, target ->> 'embedding', target ->> 'operator',
        target ->> 'vector_type');
    similarity constant text := case target ->> 'distance' when 'cosine' then '1 operator(pg_catalog.-) o.distance'
        when 'ip' then 'operator(pg_catalog.-) o.distance'
        else '1 operator(pg_catalog./) (1 operator(pg_catalog.+) o.distance)' end;
    found constant text := format(
        '(select %1$s as key, %2$s as chunk_no, %3$s.%4$I as distance from ('
        'select %5$s, %6$s as %4$I from %7$s order by %8$s limit $2) %3$s)',
        target ->> (case when chunked then 'chunk_key' else 'source_key' end),
        case when chunked then 'v.chunk_no' else 'null::pg_catalog.int4' end, alias, target ->> 'own',
        case when chunked then (target ->> 'chunk_columns') || ', v.chunk_no' else target ->> 'source_columns' end,
        distance, _search_from(target, filter, path),
        case path when 'index' then distance else format('(%s) operator(pg_catalog.+) 0', distance) end);
begin
    return format(
        case when per_row then
            'with found as materialized (select f.* from %s f) '
            'select coalesce(pg_catalog.array_agg(o.key), ''{}''), pg_catalog.array_agg(o.chunk_no), '
            'pg_catalog.array_agg(%s), (select pg_catalog.count(*) from found) '
            'from (select b.* from (select distinct on (f.key) f.* from found f '
            'order by f.key, f.distance, f.chunk_no) b order by b.distance, b.key) o'
        else
            'select coalesce(pg_catalog.array_agg(o.key), ''{}''), pg_catalog.array_agg(o.chunk_no), '
            'pg_catalog.array_agg(%2$s), pg_catalog.count(*) '
            'from (select f.* from %1$s f order by f.distance operator(pg_catalog.+) 0, f.key, f.chunk_no) o' end,
        found, similarity);
end $$;

-- Within an index scan each row of the source is looked up by its key: OFFSET keeps the planner from reading them all.
create or replace function pgembedd._search_from(target jsonb, filter text, path text) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if not (target -> 'chunked')::boolean then
        return format('%s s where s.%s is not null and (%s)', target ->> 'source', target ->> 'embedding', filter);
    elsif path = 'index' then
        return format('%s v where exists (select from %s s where %s and (%s) offset 0)', target ->> 'vectors',
            target ->> 'source', target ->> 'chunk_is_of_source', filter);
    end if;
    return format('%s v join %s s on %s where (%s)', target ->> 'vectors', target ->> 'source',
        target ->> 'chunk_is_of_source', filter);
end $$;

-- Which scan costs less, of how many rows. The index visits about breadth * rows / matches rows. `visits` bounds them:
-- twice as many, or more where a scan in vain takes about as long as the exact one that follows it; null where
-- nothing filters. Volatile, as only such may EXPLAIN.
create or replace function pgembedd._search_path(
    target jsonb, filter text, breadth integer, out path text, out visits integer, out rows double precision
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    visit_cost constant double precision := 8;  -- in the planner's units: ten distances, to rows that lie anywhere
    vain_visit_cost constant double precision := 16;  -- beyond the bound, all that was met by the way is looked up
    most constant integer := 20000;  -- what a scan visits before it costs memory and half a second
    vectors constant oid := target ->> 'vectors_oid';
    plan json;
    matches double precision;
    expected double precision;
    exact_cost double precision;
begin
    path := 'index';
    select sum(greatest(c.reltuples, 0)) into rows from pg_class c
    where c.relkind = 'r'
      and c.oid = any (array(select vectors union all select p.relid from pg_partition_tree(vectors) p));
    if filter = 'true' and not row_security_active(vectors) then return; end if;
    execute 'explain (format json) select from ' || _search_from(target, filter, 'exact') into plan;
    matches := greatest((plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision, 1);  -- of a false condition it is 0
    exact_cost := plan -> 0 -> 'Plan' ->> 'Total Cost';
    expected := breadth * greatest(rows, matches) / matches;
    visits := least(most, greatest(2 * expected, exact_cost / vain_visit_cost));
    if exact_cost <= visit_cost * expected or 2 * expected > most then
        path := 'exact';
    end if;
end $$;
