-- The semantic leg: the `wanted` nearest rows (of each its nearest chunk) or chunks that pass the filter, complete. It
-- begins with the index, or with an exact scan where the planner expects so few matches that this costs less. An index
-- scan that visits more rows than it was allowed is followed by an exact one. `with_words`: what would be found by an
-- exact scan alone is left to the leg by words, so that both take the rows from one scan, and `hits` is null.
create or replace function pgembedd_internal._search_nearest(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, with_words boolean default false,
    out hits pgembedd_internal._search_hit[], out path text, out breadth integer, out visits integer,
    out graph_rows double precision, out steps integer[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wanted integer := asked.wanted;
    of_row constant boolean := asked.per = 'row' and target.chunked;  -- the chunks of one row come together
    plan record; found record;
begin
    steps := _search_steps(asked.mode, asked.wanted, of_row, asked.matches is not null);
    plan := _search_path(target, asked, steps);
    path := plan.path; graph_rows := plan.graph_rows;
    if with_words and path = 'exact' then return; end if;
    hits := '{}';
    if path = 'index' and asked.matches is null and not of_row then
        breadth := steps[1];
        hits := _search_at_once(target, asked, breadth, graph_rows);
        path := case when hits <> '{}' then path else 'index, then exact' end;
    elsif path = 'index' then
        asked.indexes := plan.indexes;
        found := _search_by_index(target, asked, steps, plan.visits, plan.credit, graph_rows);
        hits := found.hits;
        visits := found.most;
        steps := found.taken;
        breadth := steps[cardinality(steps)];
        path := case when found.found_all then path else 'index, then exact' end;
    end if;
    if path <> 'index' then
        visits := coalesce(visits, plan.visits[1]);
        if asked.mode = 'semantic' then  -- an exact list is right at every length, so it is as long as the page needs
            wanted := greatest(wanted, least(1000, asked.skip + asked.k));
        end if;
        breadth := greatest(breadth, steps[_search_step(steps, asked.wanted, of_row)], wanted);
        asked.wanted := wanted;
        plan := _search_exactly(target, asked, breadth);
        breadth := plan.breadth;
        hits := _search_joined(hits, plan.hits, wanted, asked.per, 'semantic');
    end if;
    if asked.min_similarity is not null then  -- what comes after the first that is too far is no part of any page
        wanted := least(wanted, (select min(n) - 1 from generate_subscripts(hits, 1) n
                                 where hits[n].similarity < asked.min_similarity));
    end if;
    hits := hits[:wanted];
end $$;

-- The steps of an index scan, in rows or chunks that it gives. A list for pages is that of one scan in parts, as though
-- it had stopped at each step: a relaxed scan meets nearer rows on its way, and so it is the beginning of every longer
-- list. What an index gives at once, without a filter, is in order and has one part, as a list that is fused; it is of
-- one of the lengths whose plans are kept.
create or replace function pgembedd_internal._search_steps(
    mode text, wanted integer, of_row boolean, filtered boolean
) returns integer[]
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return case when mode = 'semantic' and wanted <= 100 and of_row then '{40,80,200,400}'
                when mode = 'semantic' and wanted <= 100 and filtered then '{10,20,50,100}'
                else array[case when of_row then 4 else 1 end
                           * case when filtered then wanted else _search_length(wanted) end] end;
end $$;

-- The first of the steps with which a list can be as long as it is wanted.
create or replace function pgembedd_internal._search_step(
    steps integer[], wanted integer, of_row boolean
) returns integer
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return least(cardinality(steps), 1 + width_bucket(case when of_row then 4 else 1 end * wanted - 1, steps));
end $$;

-- What the index gives at once, where nothing filters and each hit is a row or chunk of its own; none where these are
-- less than the breadth.
create or replace function pgembedd_internal._search_at_once(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, breadth integer,
    graph_rows double precision
) returns pgembedd_internal._search_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    hits pgembedd_internal._search_hit[];
    settings text[];
begin
    settings := _search_set(breadth, null, graph_rows);
    execute _search_statement(target, asked, 'index', false) into hits using asked.embedding, breadth;
    settings := _search_set(settings => settings);
    return case when cardinality(hits) >= breadth then hits else '{}' end;
end $$;

-- The hits of an index scan down to the step that is needed, and further where chunks are of fewer rows. `found_all`:
-- each step was reached within its visits. Where one was not, the hits end before it: the end of a scan that went
-- further is what it had met by the way, and its recall is poor. `visits` are of the first steps, those for which a
-- scan of the index costs less than an exact one. Where the matches turn out to be so near that the next step costs an
-- eighth of what the first one may, it goes on to that.
create or replace function pgembedd_internal._search_by_index(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, steps integer[], visits integer[],
    credit integer[], graph_rows double precision, out hits pgembedd_internal._search_hit[], out found_all boolean,
    out most integer, out taken integer[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    needed constant integer := _search_step(steps, asked.wanted, asked.per = 'row' and target.chunked);
    n integer := least(needed, cardinality(visits));
    settings text[];
    parts integer[];
    ends bigint[];
    before bigint; seen integer; reached integer;
    outer_until constant text := current_setting('pgembedd.scan_until', true);  -- of a scan whose policy searches
    ignored text;
begin
    loop
        before := case when visits is not null then _search_visited(asked.indexes) end;
        settings := _search_set(steps[1], visits[n], graph_rows);
        ignored := case when credit is not null
                        then set_config('pgembedd.scan_until', (before + credit[1])::text, true) end;
        execute _search_statement(target, asked, case when credit is null then 'index' else 'watched' end, n > 1)
        into hits, seen, parts, ends
        using asked.embedding, steps[n], steps[:n], credit[2], before + visits[n], asked.indexes;
        settings := _search_set(settings => settings);
        ignored := case when credit is not null then set_config('pgembedd.scan_until', outer_until, true) end;
        ends[n] := case when visits is not null then _search_visited(asked.indexes) end;
        reached := 0;
        while reached < n and steps[reached + 1] <= seen
              and coalesce(ends[reached + 1] - before <= visits[reached + 1], true) loop
            reached := reached + 1;
        end loop;
        if reached < n then hits := hits[:(select count(*) from unnest(parts) p where p <= reached)]; end if;
        exit when reached < n or cardinality(hits) >= asked.wanted or n = cardinality(visits) and n < cardinality(steps)
               and (8 * (ends[n] - before) * steps[n + 1] between 1 and visits[1]::bigint * steps[n]) is not true;
        if n = cardinality(visits) then
            visits[n + 1] := case when n < cardinality(steps) then visits[1] / 4
                                  else least(4 * visits[n], 50000000) end;
        end if;
        if n = cardinality(steps) then steps := steps || 4 * steps[n]; end if;
        n := n + 1;
    end loop;
    found_all := reached = n and cardinality(hits) >= asked.wanted;
    most := visits[n];
    taken := steps[:n];
end $$;

-- The first hits of an exact scan, as many as are wanted or there are.
create or replace function pgembedd_internal._search_exactly(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, begun_with integer,
    out breadth integer, out hits pgembedd_internal._search_hit[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    seen integer;
begin
    breadth := begun_with;
    loop
        execute _search_statement(target, asked, 'exact', false) into hits, seen using asked.embedding, breadth;
        exit when cardinality(hits) >= asked.wanted or seen < breadth;
        breadth := 4 * breadth;
    end loop;
end $$;

-- The rows that scans of these indexes have led to in this transaction, from the server's own counters (track_counts):
-- a query cannot count the rows that a policy or a filter drops within the scan.
create or replace function pgembedd_internal._search_visited(indexes oid[]) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if cardinality(indexes) = 1 then return pg_stat_get_xact_tuples_returned(indexes[1]); end if;
    return (select sum(pg_stat_get_xact_tuples_returned(i)) from unnest(indexes) i);
end $$;

-- Sets pgvector's settings for scans, those that are there. Returns those of before, which are the caller's: they are
-- set again afterwards, as `settings` (an error resets them, too). With `visits`, the scan may come to four times as
-- many distances, which suffices for those rows, and to the memory for them; beyond, pgvector returns what it has met,
-- without a look further.
create or replace function pgembedd_internal._search_set(
    breadth integer default null, visits integer default null, rows double precision default null,
    settings text[] default null
) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Null before pgvector is loaded; 0.8 brought all but the first.
    before constant text[] := array[
        current_setting('hnsw.ef_search', true), current_setting('hnsw.iterative_scan', true),
        current_setting('hnsw.max_scan_tuples', true), current_setting('hnsw.scan_mem_multiplier', true)];
    ignored text;
begin
    settings := coalesce(settings, array[
        greatest(before[1]::integer, pgembedd_internal._search_ef_search(breadth, visits is not null, rows))::text,
        'relaxed_order',
        coalesce(4 * visits, 50000)::text,
        greatest(before[4]::float8, least(1000, 128 * 1024 ^ 2 / pg_size_bytes(current_setting('work_mem'))))::text]);
    ignored := concat(
        case when before[1] <> settings[1] then set_config('hnsw.ef_search', settings[1], true) end,
        case when before[2] <> settings[2] then set_config('hnsw.iterative_scan', settings[2], true) end,
        case when before[3] <> settings[3] then set_config('hnsw.max_scan_tuples', settings[3], true) end,
        case when before[4] <> settings[4] then set_config('hnsw.scan_mem_multiplier', settings[4], true) end);
    return before;
end $$;

-- How many the index gives at once. With fewer, some questions find none of their ten nearest among so many rows
-- (decision 9). Under a filter the matches are a part of what is near.
create or replace function pgembedd_internal._search_ef_search(
    breadth integer, filtered boolean, rows double precision
) returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return least(1000, greatest(200 * sqrt(rows / 100000),
                                case when filtered then greatest(200, 4 * breadth)
                                     else greatest(100, 2 * breadth) end));
end $$;
