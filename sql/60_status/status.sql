create or replace view pgembedd.status as
select p.name as pipeline,
       -- Of a table that was dropped the name is remembered; as a regclass it would be a number.
       case when pgembedd._exists(p.source) then p.source::text else p.source_name end as source,
       coalesce(p.embedding_column, case when pgembedd._exists(p.embedding_table) then p.embedding_table::text
                                         else p.embedding_table_name end)
           as destination, p.model, p.fingerprint,
       n.state,
       nullif(concat_ws(' ', s.stalled, pgembedd._shown_reason(p)), '') as reason,
       coalesce(q.fresh, 0)::bigint as queued, coalesce(q.backfill, 0)::bigint as backfill,
       clock_timestamp() - q.oldest as oldest_age,
       coalesce(q.failing, 0)::bigint as failing, coalesce(r.dead, 0) as dead, coalesce(r.blank, 0) as blank,
       coalesce(r.truncated, 0) as truncated, v.rows_per_minute,
       pgembedd._coverage(p,
           (coalesce(q.fresh, 0) + coalesce(q.backfill, 0) + coalesce(r.dead, 0))::bigint) as coverage, a.lag,
       pgembedd._index_state(p) as index, p.index_due_at, p.triggers,
       case when n.state = 'running' then
           pgembedd._time_left(coalesce(q.fresh, 0) + coalesce(q.backfill, 0), v.rows_per_minute) end as time_left
from pgembedd.pipeline p
left join (select pipeline_id, sum(queued) filter (where lane = 'fresh') as fresh,
                  sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing,
                  min(oldest) as oldest, sum(due) as due, sum(leased) as leased, min(due_since) as due_since,
                  max(why) as why
           from pgembedd._queued() group by pipeline_id) q on q.pipeline_id = p.id
left join (select pipeline_id, count(*) filter (where state = 'dead') as dead,
                  count(*) filter (where state = 'blank') as blank,
                  count(*) filter (where state = 'truncated') as truncated
           from pgembedd.row_state group by pipeline_id) r on r.pipeline_id = p.id
left join (select distinct on (w.pipeline_id) w.* from pgembedd._recent_work() w) a on a.pipeline_id = p.id
cross join lateral (
    select pgembedd._rate(coalesce(q.fresh, 0) + coalesce(q.backfill, 0), a.rows, a.began_at, a.ended_at)
               as rows_per_minute) v
cross join lateral (
    select pgembedd._stalled(p, q.due, q.leased, q.due_since, q.why, a.ended_at) as stalled) s
cross join lateral (
    select case when s.stalled is null then pgembedd._shown_state(p) else 'stalled' end as state) n;
comment on view pgembedd.status is
    'One line a pipeline: its state, what is queued in both lanes '
    'and since when, what failed, how fast it goes, how far it is.';
