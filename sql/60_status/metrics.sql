create or replace function pgembedd.metrics() returns table (
    pipeline text, state text, queued bigint, queued_fresh bigint, queued_backfill bigint,
    oldest_age_fresh_s double precision, oldest_age_backfill_s double precision, failing bigint, dead jsonb,
    blank bigint, truncated bigint, rows_per_minute double precision, queued_estimated boolean,
    demand_s double precision, dead_estimated boolean)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    -- Messages and dead letters that no pipeline is known for come in a line without a state.
    select p.name, f.state, f.queued, f.queued_fresh, f.queued_backfill,
           extract(epoch from clock_timestamp() - f.fresh_oldest)::double precision,
           extract(epoch from clock_timestamp() - f.backfill_oldest)::double precision,
           f.failing, coalesce(d.dead, '{}'), f.blank, f.truncated, f.rows_per_minute::double precision,
           f.estimated, coalesce(f.demand_s, 0), f.dead_estimated or coalesce(d.estimated, false)
    from _figures f left join pipeline p on p.id = f.pipeline_id
    left join (select e.pipeline_id, jsonb_object_agg(e.kind, e.rows) as dead, bool_or(e.estimated) as estimated
               from _exceptions('dead_letter', 'reason') e group by 1) d on d.pipeline_id = f.pipeline_id
    where p.id is not null or f.queued > 0 or d.dead is not null
    order by p.id
$$;
comment on function pgembedd.metrics is
    'For a monitor: each pipeline with what is queued in each lane '
    'and since when, what failed and why, and how fast it goes.';
