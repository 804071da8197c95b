-- Estimates from a sample of a table's pages; their cost does not depend on the size of the table.

create or replace function pgembedd_internal._leaves(
    source regclass
) returns table (relation regclass, pages bigint, density double precision)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    -- The size is the present one; how many rows go on a page is as of the last ANALYZE, and null before that.
    select c.oid::regclass, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
           nullif(greatest(c.reltuples, 0), 0) / nullif(c.relpages, 0)
    from _with_partitions(source) leaf join pg_class c on c.oid = leaf where c.relkind = 'r'
$$;

-- The share of a table's pages, in per cent, that makes about so many; all of it where it has not many more.
create or replace function pgembedd_internal._percent(source regclass, pages integer) returns double precision
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when sum(l.pages) > 2 * $2 then 100.0 * $2 / sum(l.pages) else 100 end from _leaves(source) l
$$;

-- The clause that takes that share: always the same pages, so that what is told of them does not flicker.
create or replace function pgembedd_internal._sample(percent double precision) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when percent < 100 then format('tablesample system (%s) repeatable (0)', percent) else '' end $$;

-- The number of rows of a table, from `seen` rows in that share of its pages.
create or replace function pgembedd_internal._extrapolated_rows(
    source regclass, seen bigint, percent double precision
) returns double precision
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when percent = 100 then seen
                else coalesce(sum(l.pages * coalesce(l.density, seen / nullif(percent / 100 * t.pages, 0))), 0) end
    from _leaves(source) l cross join (select sum(pages)::double precision as pages from _leaves(source)) t
$$;

-- The same in one call; null when the table cannot be looked at.
create or replace function pgembedd_internal._row_count(pipeline pgembedd_internal.pipeline) returns bigint
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '100ms'
as $$
declare
    percent double precision;
begin
    percent := _percent(pipeline.source, 300);
    return round(_extrapolated_rows(pipeline.source, (_count_lacking(pipeline, percent)).seen, percent));
exception when others then
    return null;
end $$;

-- The share of the source's rows whose vector is up to date, from 0 to 1, rounded down; blank rows are done. Exact for
-- a small table, an estimate for a large one. `waiting` is how many jobs and dead letters there are. Null when the
-- table cannot be read: it was dropped, or is being altered. status shows the rest all the same.
create or replace function pgembedd_internal._coverage(
    pipeline pgembedd_internal.pipeline, waiting bigint
) returns numeric
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '100ms'
as $$
declare
    percent double precision;
    counted record;
    total double precision;
begin
    -- Many pages rather than many rows: what is done and what is not tends to lie together.
    percent := _percent(pipeline.source,
        (select least(1000, greatest(300, 30000 / coalesce(max(l.density), 30)))::integer
                                          from _leaves(pipeline.source) l));
    counted := _count_lacking(pipeline, percent);
    total := _extrapolated_rows(pipeline.source, counted.seen, percent);
    waiting := _rows_waiting(pipeline, waiting);
    if total = 0 then return (waiting = 0)::integer; end if;
    -- Rows without a vector are mostly those that are queued or dead, so they are not added up.
    return greatest(0, floor(10000 * (1 - greatest(
        waiting, total * (counted.lacking - counted.blank) / greatest(counted.seen, 1)) / total)) / 10000);
exception when others then
    return null;
end $$;

-- How many rows the jobs and dead letters are of: each change of a row queues a job. Of more than 10,000 it is taken
-- that no two are of one row.
create or replace function pgembedd_internal._rows_waiting(
    pipeline pgembedd_internal.pipeline, waiting bigint
) returns bigint
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    keys bigint;
begin
    if waiting not between 1 and 10000 then return waiting; end if;
    execute _render($q$
        select count(*) from (
            select q.message -> 'id' from pgmq.q_pgembedd_fresh q where {is_job}
            union select q.message -> 'id' from pgmq.q_pgembedd_backfill q where {is_job}
            union select r.key from row_state r where r.pipeline_id = {id} and r.state = 'dead') k
        $q$, jsonb_build_object('is_job', _is_for(pipeline.id), 'id', pipeline.id)) into keys;
    return keys;
end $$;

-- The rows in that share of the pages, those of them that lack a vector, and those of these that are blank.
create or replace function pgembedd_internal._count_lacking(
    pipeline pgembedd_internal.pipeline, percent double precision, out seen bigint, out lacking bigint, out blank bigint
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    blanks boolean := exists (select from row_state r where r.pipeline_id = pipeline.id and r.state = 'blank');
    answer jsonb := _ask_named(pipeline, 'count', jsonb_build_object('percent', percent, 'keys', blanks));
begin
    seen := answer -> 0;
    lacking := answer -> 1;
    blank := (select count(*) from jsonb_array_elements(nullif(answer -> 2, 'null')) as k(key) where exists (
        select from row_state r where r.pipeline_id = pipeline.id and r.state = 'blank' and r.key = k.key
        and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(k.key, 0)));  -- by which the index finds it
end $$;
