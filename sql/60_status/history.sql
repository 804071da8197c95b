-- The name of the pipeline is a parameter and a column, which it can be as INOUT alone.
create or replace function pgembedd.history(
    inout pipeline text default null, last interval default '1 hour', bucket interval default '1 minute',
    out at timestamptz, out queued bigint, out queued_fresh bigint, out queued_backfill bigint,
    out oldest_age interval, out failing bigint, out dead bigint, out embedded bigint, out rows_per_minute numeric,
    out lag interval
) returns setof record
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    only_id integer := case when history.pipeline is not null then (_pipeline(history.pipeline)).id end;
    ended_at timestamptz := clock_timestamp();
    began_at timestamptz;
begin
    perform _check_history(last, bucket);
    began_at := date_bin(bucket, ended_at - last, 'epoch');
    return query
        with bins as (select b.at from generate_series(began_at, ended_at, bucket) as b(at)),
        -- The highest of each bin: a peak shows in an hour's bins, too.
        sampled as (
            select date_bin(bucket, s.at, 'epoch') as at, s.pipeline_id,
                   max(s.queued + s.backfill) as queued, max(s.queued) as fresh, max(s.backfill) as backfill,
                   max(greatest(s.oldest_age, s.backfill_oldest_age)) as oldest_age,
                   max(s.failing) as failing, max(s.dead) as dead
            from sample s
            where s.at >= began_at and (only_id is null or s.pipeline_id is null or s.pipeline_id = only_id)
            group by 1, 2),
        done as (
            select date_bin(bucket, a.at, 'epoch') as at, a.pipeline_id, sum(c.jobs) as embedded,
                   sum(a.lag * c.jobs) as waited, sum(c.jobs) filter (where a.lag is not null) as waiting
            from activity a, lateral (select a.written + a.cleared + a.unchanged as jobs) c
            where a.at >= began_at and (only_id is null or a.pipeline_id = only_id)
            group by 1, 2)
        select p.name, b.at,
               -- Null where no sample was taken, because nothing did the maintenance.
               case when t.at is not null then coalesce(s.queued, 0) end,
               case when t.at is not null then coalesce(s.fresh, 0) end,
               case when t.at is not null then coalesce(s.backfill, 0) end, s.oldest_age,
               case when t.at is not null then coalesce(s.failing, 0) end,
               case when t.at is not null then coalesce(s.dead, 0) end, coalesce(d.embedded, 0),
               round((coalesce(d.embedded, 0) * 60 / extract(epoch from least(bucket, ended_at - b.at)))::numeric, 1),
               d.waited / nullif(d.waiting, 0)
        from pipeline p cross join bins b
        left join sampled t on t.at = b.at and t.pipeline_id is null
        left join sampled s on s.at = b.at and s.pipeline_id = p.id
        left join done d on d.at = b.at and d.pipeline_id = p.id
        where only_id is null or p.id = only_id
        order by p.name, b.at;
end $$;
comment on function pgembedd.history is
    'What was queued, waited and done in each bucket of the last '
    'hour, or as long as `last`; of one pipeline or of all.';

create or replace function pgembedd_internal._check_history(last interval, bucket interval) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if bucket is null or not isfinite(bucket) or bucket < interval '1 s' or extract(year from bucket) > 0
        or extract(month from bucket) > 0 then
        raise exception using
            message = format('bucket => %s cannot be counted in.', coalesce(quote_literal(bucket), 'NULL')),
            hint = 'Take a second or more, in seconds, minutes, hours or days.', errcode = 'invalid_parameter_value';
    elsif last is null or not isfinite(last) or last < bucket
        or extract(epoch from last) / extract(epoch from bucket) > 10000 then
        raise exception using message = format('last => %s makes no history in buckets of %s.',
                coalesce(quote_literal(last), 'NULL'), bucket),
            hint = 'It is as long as one bucket at least, and as 10,000 at most; samples are kept for a day.',
            errcode = 'invalid_parameter_value';
    end if;
end $$;
