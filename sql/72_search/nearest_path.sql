-- What the planner expects of a filter or a policy. Volatile, as only such may EXPLAIN; into a variable, as a loop over
-- its lines takes half as long again.
create or replace function pgembedd_internal._search_expected(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    plan json;
    scans jsonb;
begin
    execute concat('explain (format json) select from ', _search_from(target, asked.near_condition),
        case when not target.chunked then format(' and s.%s is not null', target.embedding) end) into plan;
    plan := plan -> 0 -> 'Plan';
    asked.exact_cost := plan ->> 'Total Cost';
    asked.matches := greatest((plan ->> 'Plan Rows')::double precision, 1);  -- of a false condition: 0
    asked.by_index := plan ->> 'Node Type' in ('Bitmap Heap Scan', 'Index Scan');
    asked.parts := 1;
    if target.has_parts then
        scans := _scans_of(plan::jsonb, target.alias);
        asked.by_index := not jsonb_path_exists(scans, '$[*] ? (@."Node Type" == "Seq Scan")');
        asked.parts := greatest(1, jsonb_array_length(scans));
    end if;
    return asked;
end $$;

-- Where no index leads to the few rows that a filter keeps, where they are takes the place of the filter, if the table
-- is large or the legs have no scan in common: it is read once, from some 40,000 rows on by several processes. For the
-- planner three processes take as long for the pages as one, and in memory they do not.
create or replace function pgembedd_internal._search_filtered_once(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set parallel_setup_cost = 300
as $$
declare
    most constant integer := 5000;
    places tid[];
begin
    if asked.near_condition <> asked.words_condition
       or asked.exact_cost < 10000 and (asked.mode = 'text' or not target.chunked)
       or asked.matches > most or asked.exact_cost <= 10 * asked.matches then
        return asked;
    elsif (select c.relkind <> 'r' or c.relhassubclass from pg_class c where c.oid = target.source) then
        return asked;
    end if;
    execute format('select array(select s.ctid from %s s where (%s) limit %s)', target.source, asked.near_condition,
                   most + 1) into places;
    if cardinality(places) <= most then
        asked.near_condition := format('s.ctid operator(pg_catalog.=) any (%L::pg_catalog.tid[])', places);
        asked.words_condition := asked.near_condition;
        asked.exact_cost := least(asked.exact_cost, 4 * cardinality(places));  -- a page each
    end if;
    return asked;
end $$;

-- Which scan costs less, of how many rows. The index visits about step * rows / matches rows. `visits` bounds them for
-- each step with which the index costs less, or for the first; null where nothing filters. A scan may visit `credit[1]`
-- rows, and `credit[2]` more for each match that it meets: a sixth and a fifteenth of the time of the exact scan; where
-- the index costs less for matches that lie evenly, at least four times the rows between two of them, and three times.
-- But no more than fifty times those, and twenty times, or a quarter of the sixth and the fifteenth, if that is more:
-- matches beyond are far, and of those an index misses some.
-- The first ends with what the index gives at once, or several times that, less the rows that then fill the list and
-- the one that may tie with the last. A scan that has used it up is far from the matches. So the index is tried where
-- they are too few for it, too, as they may be near; not where the sixth is less than what it gives at once, nor under
-- a policy, as hidden rows are not counted in time.
-- Where the whole exact scan is less than that, as of a small table, the index is not tried at all.
-- No credit where the planner has to see the condition: it has left out partitions, or takes a partial index, that way.
-- Without an index there is one way.
--
-- Each part of a table with parts has an index of its own, of at most `graph_rows` rows, and no hit is known to be the
-- first before each index has given a match: it takes what each gives at once, and again for those that had no match
-- among these. The indexes are asked one after the other, so the first of them tells how far the matches are: of many
-- parts the credit is three times a part's share of the exact scan's time, and two thirds of that share more for each
-- match. Of a hundred parts or more no credit is counted, as that asks the server for each index at each row.
--
-- In the planner's units a visit, which is ten distances to rows that lie anywhere, costs the more the fewer rows a
-- page has, and the more links the graph has: with 16 a scan of a table takes a twentieth of the time of a visit for a
-- page, and a hundredth for a row, of which the planner thinks as 1 and 0.0125 (decision 9). Pages that an index leads
-- to take a third of what it thinks. To compare the vector of each match comes on top.
create or replace function pgembedd_internal._search_path(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, steps integer[],
    out path text, out visits integer[], out credit integer[], out graph_rows double precision,
    out index_cost double precision, out exact_cost double precision, out indexes oid[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    read_cost double precision; most double precision;  -- visits before a scan costs memory and half a second
    exact_visits double precision; tried double precision;  -- which cost as much as the exact scan, and of these
    given integer; at_once integer; per_match double precision;  -- rows of one index, of all, and between matches
    expected double precision;  -- visits of the first step, where the matches lie evenly
    last_step double precision;  -- with which the index costs less
    spacing double precision;  -- rows from match to match, where the index costs less if they lie evenly
    parts integer := 1; watched boolean;
begin
    path := case when target.indexes is null then 'exact' else 'index' end;
    graph_rows := target.rows; indexes := target.indexes;
    if target.has_parts then
        select p.* into path, parts, target.rows, graph_rows, target.disk_pages, indexes
        from _search_partitions(target.vectors) p;
    end if;
    if asked.matches is null or path = 'exact' then return; end if;
    per_match := greatest(target.rows, asked.matches) / asked.matches; read_cost := _search_read_cost(indexes);
    given := _search_ef_search(steps[1], true, graph_rows); at_once := asked.parts * given;
    expected := greatest(steps[1] * per_match,
                         case when asked.parts > 1 then at_once / (1 - exp(-least(given / per_match, 700))) end);
    most := greatest(20000 / read_cost, case when asked.parts > 1 then 4 * at_once end);
    index_cost := 20 * read_cost * (greatest(target.disk_pages, 1) + 0.0125 * target.rows) * expected
                  / (greatest(target.disk_pages, 1) + 0.2 * target.rows) * sqrt(coalesce(target.links, 16) / 16);
    exact_cost := asked.exact_cost / case when asked.by_index then 3 else 1 end + 0.2 * asked.matches;
    exact_visits := exact_cost / index_cost * expected; last_step := least(exact_visits, most / 2);
    last_step := case when expected <= last_step then last_step / per_match else 0 end;
    tried := least(exact_visits, greatest(300 * per_match, exact_visits / 4));
    spacing := case when steps[1] <= last_step then per_match else 0 end;
    credit := case when target.whole and asked.parts = parts and parts < 100 and asked.near_condition <> 'true' then
        array[least(most, given * greatest(trunc(tried / greatest(6, asked.parts / 3.0) / given),
                                           round(4 * spacing / given), 1) - least(steps[1], given / 2) - 1),
              least(most, greatest(tried / greatest(15, 1.5 * asked.parts), 3 * spacing))] end;
    watched := credit is not null and not row_security_active(target.vectors);
    path := case when exact_visits < 200 or steps[1] > last_step and not (watched and exact_visits >= 6 * at_once)
                 then 'exact' else path end;
    for n in 1 .. greatest(1, width_bucket(last_step, steps::double precision[])) loop
        visits[n] := least(most, greatest(1, case when watched then 2 * exact_visits
                                                  else greatest(2 * steps[n] * per_match, exact_visits / 2) end));
    end loop;
end $$;

-- The cost of a visit, as a share of that where the indexes' pages are read from outside shared_buffers. Pages that fit
-- into these are mostly there.
create or replace function pgembedd_internal._search_read_cost(indexes oid[]) returns double precision
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 1 - 0.35 * least(1, pg_size_bytes(current_setting('shared_buffers')) / 8192.0
                               / greatest((select sum(c.relpages) from pg_class c where c.oid = any (indexes)), 1));
end $$;

-- The same of a table with parts, whose vectors may be columns of other numbers. Each part gives its own nearest, so
-- how many of these it takes to find all follows from the rows of the largest.
create or replace function pgembedd_internal._search_partitions(
    vectors regclass, out path text, out parts integer, out rows double precision, out graph_rows double precision,
    out pages double precision, out indexes oid[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    tables constant oid[] := array(select _with_partitions(vectors));
begin
    select t.*, i.* into parts, rows, graph_rows, pages, indexes, path
    from (select count(*) filter (where c.oid <> vectors),
                 sum(greatest(c.reltuples, 0)), max(greatest(c.reltuples, 0)), sum(c.relpages)
          from pg_class c where c.oid = any (tables) and c.relkind = 'r') t,
         (select array_agg(i.indexrelid), case when bool_or(i.indisvalid) then 'index' else 'exact' end
          from pg_index i  -- not joined, for which the planner may read all of pg_class
          where i.indrelid = any (tables) and (select a.amname from pg_class x join pg_am a on a.oid = x.relam
                                               where x.oid = i.indexrelid) in ('hnsw', 'ivfflat')) i;
end $$;
