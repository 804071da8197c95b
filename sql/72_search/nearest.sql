-- The semantic leg: the `wanted` nearest rows (of each its nearest chunk) or chunks that pass the filter, complete. It
-- begins with the index, or with an exact scan where the planner expects so few matches that this visits less. What the
-- index does not find within its bounds an exact scan does.

create or replace function pgembedd._search_nearest(
    target jsonb, embedding vector, wanted integer, filter text, per_row boolean,
    out keys jsonb[], out chunk_nos integer[], out distances double precision[], out path text, out breadth integer
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    scanned text;
    visits double precision;
begin
    per_row := per_row and (target -> 'chunked')::boolean;
    -- The chunks of one row come together; and what an index scan finds first under a filter is not quite the nearest.
    -- It finds 40, the least that ef_search is, for the price of one.
    breadth := case when per_row then 4 * wanted else greatest(wanted, least(2 * wanted, 1000)) end;
    select p.path, p.visits into path, visits from _search_path(target, filter, breadth) p;
    scanned := path;
    loop
        select s.keys, s.chunk_nos, s.distances into keys, chunk_nos, distances
        from _search_scan(target, embedding, breadth, visits, filter, scanned) s;
        exit when cardinality(keys) >= wanted
            and (not per_row or (select count(distinct k) from unnest(keys) as k) >= wanted);
        if cardinality(keys) = breadth then
            breadth := 4 * breadth;
            visits := 4 * visits;
        else
            exit when scanned = 'exact';
            scanned := 'exact';
            path := 'index, then exact';
        end if;
    end loop;
    if per_row then
        select array_agg(f.key order by f.nth), array_agg(f.chunk_no order by f.nth),
               array_agg(f.distance order by f.nth)
        into keys, chunk_nos, distances
        from (select distinct on (n.key) n.* from unnest(keys, chunk_nos, distances)
                  with ordinality as n(key, chunk_no, distance, nth) order by n.key, n.nth) f;
    end if;
    keys := keys[:wanted];
    chunk_nos := chunk_nos[:wanted];
    distances := distances[:wanted];
end $$;

create or replace function pgembedd._search_scan(
    target jsonb, embedding vector, breadth integer, visits double precision, filter text, path text,
    out keys jsonb[], out chunk_nos integer[], out distances double precision[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    before constant text[] := _search_settings(breadth, visits);
begin
    execute _search_statement(target, filter, path) into keys, chunk_nos, distances using embedding, breadth;
    perform _search_restore(before);
end $$;

-- pgvector's settings for a scan; one that visits four times the rows that were expected leaves the rest to the exact
-- scan, since the matches are not near the query. Returns the settings of the caller, which are theirs again afterwards
-- (an error resets them, too). Null before pgvector is loaded, and before 0.8, which has no iterative scan.
create or replace function pgembedd._search_settings(breadth integer, visits double precision) returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    ours constant text[] := _search_setting_names();
    before text[] := '{}';
    value text;
begin
    for i in 1 .. cardinality(ours) loop
        before := before || current_setting(ours[i], true);
        continue when before[i] is null;
        value := case i when 1 then greatest(before[i]::integer, least(1000, breadth))::text
                        when 2 then 'relaxed_order'
                        else least(before[i]::integer, greatest(1000, coalesce(4 * visits, 1e9)))::integer::text end;
        perform set_config(ours[i], value, true);
    end loop;
    return before;
end $$;

create or replace function pgembedd._search_setting_names() returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select '{hnsw.ef_search,hnsw.iterative_scan,hnsw.max_scan_tuples}'::text[] $$;

create or replace function pgembedd._search_restore(before text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform set_config(n.name, n.value, true)
    from unnest(_search_setting_names(), before) as n(name, value) where n.value is not null;
end $$;

-- $1 is the vector, $2 how many are wanted. Adding 0 keeps the planner from the index.
create or replace function pgembedd._search_statement(target jsonb, filter text, path text) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    chunked constant boolean := target -> 'chunked';
    distance constant text := format('%s.%s %s $1::%s', case when chunked then 'v' else 's' end,
        target ->> 'embedding', target ->> 'operator', target ->> 'vector_type');
begin
    return format(
        'with found as materialized (select %s as key, %s as chunk_no, (%s) as distance from %s order by %s limit $2) '
        'select coalesce(pg_catalog.array_agg(o.key), ''{}''), pg_catalog.array_agg(o.chunk_no), '
        'pg_catalog.array_agg(o.distance) from (select f.* from found f order by f.distance, f.key, f.chunk_no) o',
        target ->> (case when chunked then 'chunk_key' else 'source_key' end),
        case when chunked then 'v.chunk_no' else 'null::pg_catalog.int4' end, distance,
        _search_from(target, filter, path),
        case path when 'index' then distance else format('(%s) operator(pg_catalog.+) 0', distance) end);
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
