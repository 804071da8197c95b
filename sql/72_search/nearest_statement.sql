-- The statement of the semantic leg: the one that is kept, or made anew, as in _search_made_statement().
create or replace function pgembedd_internal._search_statement(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, path text, in_parts boolean,
    breadth text default '($2)'
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    kind constant text := case when target.chunked then asked.per else 'row' end;
    kept constant jsonb := case when path = 'exact' or cardinality(asked.indexes) = 1 and not in_parts
                                then target.filters -> concat(path, '_', kind) end;
begin
    if kept is not null then
        return concat(kept ->> 0, asked.near_condition, kept ->> 1, asked.near_condition || (kept ->> 2));
    elsif target.kept and path = 'index' and asked.near_condition = 'true' and not in_parts then
        return format('select * from %s($1, $2)', _search_kept(target.id, 'nearest_' || kind));
    end if;
    return _search_made_statement(target, asked, path, in_parts, breadth);
end $$;

-- The array of hits and how many were within the `breadth`, which is $2; $1 is the vector. Adding 0 keeps the planner
-- from taking what the index gives for sorted: it compares rounded vectors, and an iterative scan goes on with nearer
-- ones. The key becomes JSON after the LIMIT; within it that would be done for every row that an exact scan compares.
-- The rank of a hit is its place, which is not counted here: a window takes longer to begin than to count ten.
-- Of a row that is found as one, the nearest chunk remains. Hits at one distance are in the order of their keys,
-- whatever the breadth: an index scan, which has no order of theirs, ends with the last of them. An exact list of rows
-- is in order; the path 'passing' is an exact one within a statement that has read the rows. `in_parts`: also the part
-- of each hit, which is the first of the steps $3 that has it, and what the scan had visited when it met the first of a
-- further part. Those that came together at one distance are of one part.
create or replace function pgembedd_internal._search_made_statement(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, path text, in_parts boolean, breadth text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    of_row constant boolean := asked.per = 'row' and target.chunked;
    found constant text := _search_found(target, asked, path, in_parts, breadth);
    part constant text := case when in_parts then format('%%1$s.%s_part, ', target.own) else '' end;
    in_order constant text := case when path not in ('exact', 'passing') or of_row then format(
        'order by %s %s.%s operator(pg_catalog.+) 0, %s', format(part, target.alias), target.alias, target.own,
        format(target.hit_columns, target.alias)) end;
begin
    return _render($q$
        {with} select coalesce(pg_catalog.array_agg(row ({key}, {chunk_index}, {similarity}, {similarity}, null, null,
                                                         null)::pgembedd_internal._search_hit {order}), '{}'),
               {seen} {parts}
        from {ranked} {alias} $q$, jsonb_build_object('alias', target.alias,
        'with', case when in_parts or of_row then concat('with found as materialized (', found, ')',
                                              case when in_parts then _search_placed(target) end) end,
        'seen', case when in_parts or of_row then '(select pg_catalog.count(*) from found)'
                     else 'pg_catalog.count(*)' end,
        'order', in_order,
        'parts', case when in_parts then _search_parts(target, in_order)
                      when path not in ('exact', 'passing') then ', null, null' end,
        'similarity', format(target.similarity_at, format('%s.%s', target.alias, target.own)),
        'key', format(target.key_json, target.alias),
        'chunk_index', target.chunk_index, 'ranked', case when of_row then format(
            '(select distinct on (%1$s) v.* from %4$s v '
            'order by %1$s, %3$s v.%2$I operator(pg_catalog.+) 0, v.chunk_index)',
            format(target.key_columns, 'v'), target.own, format(part, 'v'),
            case when in_parts then 'placed' else 'found' end)
            when in_parts then 'placed' else format('(%s)', found) end));
end $$;

-- What the scan finds. Adding 0 keeps an exact scan from the index, and workers may sort what each of them reads;
-- whether a row has a vector is asked at the end, as to find one of its last columns takes a quarter of a scan. A
-- 'watched' index scan stops where it meets too few matches: each of them moves the visits until which it goes on, by
-- $4, at most to $5. Beyond them every row is let through, which fills the list, and is no match. Whether the scan goes
-- on is asked once more above the merge of all parts (it is volatile, so after their order): matches of parts that were
-- read before the end do not count either. Indexes of further parts, which have not begun, then look for one row.
create or replace function pgembedd_internal._search_found(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, path text, in_parts boolean, breadth text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    columns constant text := format(target.hit_columns, target.alias);
    distance constant text := format(target.distance_to, target.alias, 1);
    visited text;
    goes_on text;
    passes text;
    condition text;
begin
    if path = 'exact' then
        return format('select * from (select %1$s, %2$s operator(pg_catalog.+) 0 as %3$s from %4$s '
                      'order by %3$s, %1$s limit %5$s) %6$s where %3$s is not null', columns, distance, target.own,
                      _search_from(target, asked.near_condition), breadth, target.alias);
    elsif path = 'passing' then
        return format('select * from passing %s order by %s, %s limit %s', target.alias, target.own, columns, breadth);
    end if;
    visited := case when in_parts or path = 'watched' then _search_visited_now(asked.indexes) end;
    passes := format(case when target.chunked then 'exists (select from %2$s s where %3$s and (%1$s) offset 0)'
                          else '(%1$s)' end, asked.near_condition, target.source, format(target.key_match, 's', 'v'));
    condition := passes;
    if path = 'watched' then
        goes_on := format('((%s) operator(pg_catalog.<=) '
                          'pg_catalog.current_setting(''pgembedd.scan_until'')::pg_catalog.int8)', visited);
        condition := format($q$case when not %s then pg_catalog.set_config('hnsw.ef_search', '1', true) is not null
            when %s then pg_catalog.set_config('pgembedd.scan_until', least($5, $4 operator(pg_catalog.+)
            pg_catalog.current_setting('pgembedd.scan_until')::pg_catalog.int8)::pg_catalog.text, true) is not null
            end$q$, goes_on, passes);
    end if;
    return format(case path
        when 'watched' then 'select f.* from (select %1$s, %2$s as %3$s%4$s, (%5$s and %6$s) as %3$s_passes from %7$s '
                          'order by %2$s fetch first %8$s rows with ties) f where f.%3$s_passes'
        else 'select %1$s, %2$s as %3$s%4$s from %7$s order by %2$s fetch first %8$s rows with ties' end,
        columns, distance, target.own, case when in_parts then format(', %s as %s_visited', visited, target.own) end,
        goes_on, passes, format('%s %s where %s%s', target.vectors, target.alias, case
            when not target.chunked then format('s.%s is not null and ', target.embedding) end, condition), breadth);
end $$;

-- The rows that pass and have a vector, with their distances to the vector in that parameter. OFFSET keeps the planner
-- from computing a distance twice.
create or replace function pgembedd_internal._search_passing(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, embedding integer
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format('select * from (select %1$s, %2$s as %3$s from %4$s offset 0) %5$s where %3$s is not null',
                  format(target.hit_columns, target.alias), format(target.distance_to, target.alias, embedding),
                  target.own,
                  _search_from(target, asked.near_condition), target.alias);
end $$;

-- What the scans of the indexes $6 have led to, as an expression, which tells it for each row of a scan.
create or replace function pgembedd_internal._search_visited_now(indexes oid[]) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return (select string_agg(format('pg_catalog.pg_stat_get_xact_tuples_returned($6[%s])', i),
                              ' operator(pg_catalog.+) ') from generate_subscripts(indexes, 1) i);
end $$;

create or replace function pgembedd_internal._search_parts(
    target pgembedd_internal._search_target, in_order text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format($q$, coalesce(pg_catalog.array_agg(%2$s.%1$s_part %3$s), '{}'),
        array(select (select pg_catalog.min(p.%1$s_visited) from placed p
                      where p.%1$s_part operator(pg_catalog.>) s.nth)
              from pg_catalog.unnest($3) with ordinality as s(step, nth) order by s.nth)$q$,
        target.own, target.alias, in_order);
end $$;

-- What was found, with its part. Windows without an order take the rows in that of the scan.
create or replace function pgembedd_internal._search_placed(target pgembedd_internal._search_target) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return _render($q$
        , numbered as (select f.*, pg_catalog.row_number() over () as {own}_nth,
                              pg_catalog.lag(f.{own}) over () as {own}_before from found f),
        placed as materialized (select n.*, (1 operator(pg_catalog.+) pg_catalog.width_bucket(
                pg_catalog.max(n.{own}_nth) filter (where n.{own}_before is distinct from n.{own})
                    over (order by n.{own}_nth) operator(pg_catalog.-) 1, $3::pg_catalog.int8[])) as {own}_part
            from numbered n) $q$, jsonb_build_object('own', target.own));
end $$;

-- The rows that an exact scan compares. Within an index scan each row of the source is looked up by its key instead:
-- OFFSET keeps the planner from reading them all.
create or replace function pgembedd_internal._search_from(
    target pgembedd_internal._search_target, condition text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return case when target.chunked
                then format('%s v join %s s on %s where (%s)', target.vectors, target.source,
                            format(target.key_match, 's', 'v'), condition)
                else format('%s s where (%s)', target.source, condition) end;
end $$;
