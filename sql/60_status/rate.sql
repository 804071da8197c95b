-- What the stores of the last five minutes did, by pipeline: `lag` and `recalled` over all of them, `rows` and
-- `began_at` of the work that goes on now. That begins again where jobs were queued after the store before them, ten
-- seconds or more after it, and where nothing was stored for a minute.
create or replace function pgembedd_internal._recent_work() returns table (
    pipeline_id integer, rows bigint, began_at timestamptz, ended_at timestamptz, lag interval, recalled bigint)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with stores as (
        select a.pipeline_id, a.at, a.lag, a.recalled, a.written + a.cleared + a.unchanged as jobs,
               a.at - lag(a.at) over (partition by a.pipeline_id order by a.at) as pause
        from activity a where a.at > clock_timestamp() - interval '5 minutes'),
    begun as (
        select s.*, max(s.at) filter (where s.pause is null or s.pause > interval '1 minute'
                                         or s.pause > interval '10 seconds' and s.pause > s.lag)
                    over (partition by s.pipeline_id) as began_at
        from stores s)
    select b.pipeline_id, sum(b.jobs) filter (where b.at >= b.began_at), b.began_at, max(b.at),
           sum(b.lag * b.jobs) / nullif(sum(b.jobs) filter (where b.lag is not null), 0), sum(b.recalled)
    from begun b group by b.pipeline_id, b.began_at
$$;

-- Rows a minute since the work began, over ten seconds at least; 0 once nothing waits and nothing was stored for ten.
create or replace function pgembedd_internal._rate(
    waiting numeric, rows bigint, began_at timestamptz, ended_at timestamptz
) returns numeric
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when rows is null or coalesce(waiting, 0) = 0 and ended_at < clock_timestamp() - interval '10 seconds'
                then 0 else round(rows * 60 / extract(epoch from greatest(
                    clock_timestamp() - began_at, interval '10 seconds')), 1) end
$$;

-- How long the waiting jobs take at that rate; null where none waits or none is done.
create or replace function pgembedd_internal._time_left(waiting numeric, rate numeric) returns interval
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when waiting > 0 then make_interval(secs => (waiting * 60 / nullif(rate, 0))::double precision) end
$$;

-- The seconds that one worker takes for a job, by pipeline, and over all of them where that is null: from the stores of
-- the last five minutes whose jobs had been waiting since the store before, so that a worker that had little to do does
-- not count as slow. Where these took less than a second, nothing is known.
create or replace function pgembedd_internal._job_seconds()
returns table (pipeline_id integer, seconds double precision)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select s.pipeline_id, (sum(extract(epoch from s.pause) * s.workers) / sum(s.jobs))::double precision
    from (select a.pipeline_id, a.lag, a.written + a.cleared + a.unchanged + a.gone as jobs,
                 greatest(a.workers, 1) as workers, a.at - lag(a.at) over (order by a.at) as pause
          from activity a where a.at > clock_timestamp() - interval '5 minutes') s
    where s.lag >= s.pause and s.jobs > 0
    group by grouping sets ((), (s.pipeline_id))
    having sum(s.pause) >= interval '1 s'
$$;
