create or replace function pgembedd.metrics() returns table (
    pipeline text, state text, queued bigint, backfill bigint, queued_oldest_s double precision,
    backfill_oldest_s double precision, failing bigint, dead jsonb, blank bigint, truncated bigint,
    rows_per_minute double precision)
language sql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    with queues as materialized (select * from _queued()),
    -- Messages and dead letters that no pipeline is known for come in a line without a state.
    named as (
        select p.id, p.name, p from pipeline p
        union all
        select null, null, null
        where exists (select from queues q where q.pipeline_id is null)
           or exists (select from dead_letter d where d.pipeline_id is null))
    select n.name,
           case when n.id is null then null
                when _stalled(n.p, q.due, q.leased, q.due_since, q.why, a.ended_at) is null then _shown_state(n.p)
                else 'stalled' end,
           coalesce(q.fresh, 0)::bigint, coalesce(q.backfill, 0)::bigint,
           extract(epoch from clock_timestamp() - q.fresh_oldest)::double precision,
           extract(epoch from clock_timestamp() - q.backfill_oldest)::double precision,
           coalesce(q.failing, 0)::bigint, coalesce(d.dead, '{}'), coalesce(r.blank, 0), coalesce(r.truncated, 0),
           _rate(coalesce(q.fresh, 0) + coalesce(q.backfill, 0), a.rows, a.began_at, a.ended_at)
    from named n
    left join (select pipeline_id, sum(queued) filter (where lane = 'fresh') as fresh,
                      sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing,
                      sum(due) as due, sum(leased) as leased, min(due_since) as due_since, max(why) as why,
                      min(oldest) filter (where lane = 'fresh') as fresh_oldest,
                      min(oldest) filter (where lane = 'backfill') as backfill_oldest
               from queues group by pipeline_id) q on q.pipeline_id is not distinct from n.id
    left join (select pipeline_id, jsonb_object_agg(reason, dead) as dead
               from (select pipeline_id, reason, count(*) as dead from dead_letter group by 1, 2) d
               group by pipeline_id) d on d.pipeline_id is not distinct from n.id
    left join (select pipeline_id, count(*) filter (where state = 'blank') as blank,
                      count(*) filter (where state = 'truncated') as truncated
               from row_state group by pipeline_id) r on r.pipeline_id = n.id
    left join _recent_work() a on a.pipeline_id = n.id
    order by n.id
$$;
comment on function pgembedd.metrics is
    'For a monitor: each pipeline with what is queued in each lane '
    'and since when, what failed and why, and how fast it goes.';
