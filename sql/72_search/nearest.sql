-- The semantic leg: the `wanted` nearest rows (of each its nearest chunk) or chunks that pass the filter, complete. It
-- begins with the index, or with an exact scan where the planner expects so few matches that this visits less. What the
-- index does not find within its bounds an exact scan does.

create or replace function pgembedd._search_nearest(
    target jsonb, embedding vector, wanted integer, filter text, per_row boolean, min_similarity double precision,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out path text, out breadth integer
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
    -- The chunks of one row come together; and what an index scan finds first under a filter is not quite the nearest.
    -- It finds 40, the least that ef_search is, for the price of one.
    breadth := case when per_row then 4 * wanted else greatest(wanted, least(2 * wanted, 1000)) end;
    plan := _search_path(target, filter, breadth);
    path := plan.path;
    scanned := path;
    loop
        scan := _search_scan(target, embedding, breadth, plan.visits, filter, scanned, per_row);
        exit when cardinality(scan.keys) >= wanted;
        if scan.seen = breadth then
            breadth := 4 * breadth;
            plan.visits := 4 * plan.visits;
        else
            exit when scanned = 'exact';
            scanned := 'exact';
            path := 'index, then exact';
        end if;
    end loop;
    if min_similarity is not null then
        wanted := least(wanted, (select count(*) from unnest(scan.similarities) as s where s >= min_similarity));
    end if;
    keys := scan.keys[:wanted];
    chunk_nos := scan.chunk_nos[:wanted];
    similarities := scan.similarities[:wanted];
end $$;

-- One scan: the `breadth` nearest, of which `seen` were there; with per_row one chunk of each row remains.
create or replace function pgembedd._search_scan(
    target jsonb, embedding vector, breadth integer, visits double precision, filter text, path text, per_row boolean,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out seen integer
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    before constant text[] := _search_settings(breadth, visits);
begin
    execute _search_statement(target, filter, path, per_row) into keys, chunk_nos, similarities, seen
    using embedding, breadth;
    perform _search_restore(before);
end $$;

-- pgvector's settings for a scan; one that visits four times the rows that were expected leaves the rest to the exact
-- scan, since the matches are not near the query. Returns the settings of the caller, which are theirs again afterwards
-- (an error resets them, too). Null before pgvector is loaded, and before 0.8, which has no iterative scan.
create or replace function pgembedd._search_settings(breadth integer, visits double precision) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    ef_search constant text := current_setting('hnsw.ef_search', true);
    iterative_scan constant text := current_setting('hnsw.iterative_scan', true);
    max_scan_tuples constant text := current_setting('hnsw.max_scan_tuples', true);
    ignored text;
begin
    if ef_search::integer < breadth then
        ignored := set_config('hnsw.ef_search', least(1000, breadth)::text, true);
    end if;
    if iterative_scan is not null then
        ignored := set_config('hnsw.iterative_scan', 'relaxed_order', true);
        ignored := set_config('hnsw.max_scan_tuples',
            least(max_scan_tuples::integer, greatest(1000, coalesce(4 * visits, 1e9)))::integer::text, true);
    end if;
    return array[ef_search, iterative_scan, max_scan_tuples];
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
    end if;
end $$;

-- $1 is the vector, $2 how many are wanted. Adding 0 keeps the planner from the index. The key becomes JSON after the
-- LIMIT; within it that would be done for every row that an exact scan compares.
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
    ordered text := '(select f.* from found f order by f.distance, f.key, f.chunk_no) o';
begin
    if per_row then
        ordered := '(select b.* from (select distinct on (f.key) f.* from found f '
                   'order by f.key, f.distance, f.chunk_no) b order by b.distance, b.key) o';
    end if;
    return format(
        'with found as materialized (select %s as key, %s as chunk_no, %s."pgembedd distance" as distance from ('
        'select %s, %s as "pgembedd distance" from %s order by %s limit $2) %s) '
        'select coalesce(pg_catalog.array_agg(o.key), ''{}''), pg_catalog.array_agg(o.chunk_no), '
        'pg_catalog.array_agg(%s), (select pg_catalog.count(*) from found) from %s',
        target ->> (case when chunked then 'chunk_key' else 'source_key' end),
        case when chunked then 'v.chunk_no' else 'null::pg_catalog.int4' end, alias,
        case when chunked then (target ->> 'chunk_columns') || ', v.chunk_no' else target ->> 'source_columns' end,
        distance, _search_from(target, filter, path),
        case path when 'index' then distance else format('(%s) operator(pg_catalog.+) 0', distance) end,
        alias, similarity, ordered);
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

-- Which scan costs less: one of the index visits about breadth * rows / matches rows, each at the cost of a page
-- somewhere. `visits` is null where nothing filters. Volatile, as only such may EXPLAIN.
create or replace function pgembedd._search_path(
    target jsonb, filter text, breadth integer, out path text, out visits double precision
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    page_cost constant double precision := 4;  -- the planner's default for a random page
    plan json;
    matches double precision;
    total double precision;
begin
    path := 'index';
    if filter = 'true' and not row_security_active((target ->> 'vectors_oid')::oid) then return; end if;
    execute 'explain (format json) select from ' || _search_from(target, filter, 'exact') into plan;
    matches := greatest((plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision, 1);  -- of a false condition it is 0
    select sum(greatest(c.reltuples, 0)) into total
    from (select target ->> 'vectors_oid' union select t.relid::oid::text
          from pg_partition_tree((target ->> 'vectors_oid')::oid) t) as r(oid)
    join pg_class c on c.oid = r.oid::oid and c.relkind = 'r';
    visits := breadth * greatest(total, matches) / matches;
    if (plan -> 0 -> 'Plan' ->> 'Total Cost')::double precision <= page_cost * visits then
        path := 'exact';
    end if;
end $$;
