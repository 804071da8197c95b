create or replace view pgembedd_internal._figures as
select i.id as pipeline_id, case when s.stalled is null then pgembedd_internal._shown_state(p) else 'stalled' end as state,
       s.stalled, coalesce(q.fresh, 0)::bigint as queued, coalesce(q.backfill, 0)::bigint as backfill, q.oldest,
       q.fresh_oldest, q.backfill_oldest, coalesce(q.failing, 0)::bigint as failing, coalesce(r.dead, 0) as dead,
       coalesce(r.blank, 0) as blank, coalesce(r.truncated, 0) as truncated,
       pgembedd_internal._rate(coalesce(q.fresh, 0) + coalesce(q.backfill, 0), a.rows, a.began_at, a.ended_at)
           as rows_per_minute, a.lag
from (select p.id from pgembedd_internal.pipeline p union all select 0) i
left join pgembedd_internal.pipeline p on p.id = i.id
left join (select coalesce(pipeline_id, 0) as pipeline_id, sum(queued) filter (where lane = 'fresh') as fresh,
                  sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing,
                  min(oldest) as oldest, min(oldest) filter (where lane = 'fresh') as fresh_oldest,
                  min(oldest) filter (where lane = 'backfill') as backfill_oldest, sum(due) as due,
                  sum(leased) as leased, min(due_since) as due_since, max(why) as why
           from pgembedd_internal._queued() group by 1) q on q.pipeline_id = i.id
left join (select pipeline_id, count(*) filter (where state = 'dead') as dead,
                  count(*) filter (where state = 'blank') as blank,
                  count(*) filter (where state = 'truncated') as truncated
           from pgembedd_internal.row_state group by pipeline_id) r on r.pipeline_id = i.id
left join (select distinct on (w.pipeline_id) w.* from pgembedd_internal._recent_work() w) a on a.pipeline_id = i.id
cross join lateral (
    select case when p.id is not null then
        pgembedd_internal._stalled(p, q.due, q.leased, q.due_since, q.why, a.ended_at) end as stalled) s;
comment on view pgembedd_internal._figures is
    'The figures of each pipeline, which status and metrics() show; those of number 0 are of jobs that belong to none.';

create or replace view pgembedd.status as
select p.name as pipeline,
       -- Of a table that was dropped the name is remembered; as a regclass it would be a number.
       case when pgembedd_internal._exists(p.source) then p.source::text else p.source_name end as source,
       coalesce(p.embedding_column, case when pgembedd_internal._exists(p.embedding_table) then p.embedding_table::text
                                         else p.embedding_table_name end)
           as destination, p.model, p.fingerprint, f.state,
       nullif(concat_ws(' ', f.stalled, pgembedd_internal._shown_reason(p)), '') as reason, f.queued, f.backfill,
       clock_timestamp() - f.oldest as oldest_age, f.failing, f.dead, f.blank, f.truncated, f.rows_per_minute,
       pgembedd_internal._coverage(p, f.queued + f.backfill + f.dead) as coverage, f.lag,
       pgembedd_internal._index_state(p) as index, p.index_due_at, p.triggers,
       case when f.state = 'running' then
           pgembedd_internal._time_left(f.queued + f.backfill, f.rows_per_minute) end as time_left
from pgembedd_internal.pipeline p join pgembedd_internal._figures f on f.pipeline_id = p.id;
comment on view pgembedd.status is
    'One line a pipeline: its state, what is queued in both lanes '
    'and since when, what failed, how fast it goes, how far it is.';
