create or replace view pgembedd_internal._figures as
with job_seconds as (select t.* from pgembedd_internal._job_seconds() t)
select i.id as pipeline_id,
       case when s.stalled is null then pgembedd_internal._shown_state(p) else 'stalled' end as state,
       s.stalled, coalesce(q.queued, 0)::bigint as queued, coalesce(q.fresh, 0)::bigint as queued_fresh,
       coalesce(q.backfill, 0)::bigint as queued_backfill, q.oldest, q.fresh_oldest, q.backfill_oldest,
       coalesce(q.failing, 0)::bigint as failing, coalesce(r.dead, 0) as dead, coalesce(r.blank, 0) as blank,
       coalesce(r.truncated, 0) as truncated,
       pgembedd_internal._rate(q.queued, a.rows, a.began_at, a.ended_at) as rows_per_minute, a.lag,
       coalesce(q.estimated, false) as estimated,
       -- Where nothing is known of the time that a job takes, a tenth of a second.
       case when pgembedd_internal._shown_state(p) = 'running' then q.work * coalesce(t.seconds, u.seconds, 0.1)
            else 0 end as demand_s, coalesce(r.estimated, false) as dead_estimated,
       coalesce(a.recalled, 0) as recalled
from (select p.id from pgembedd_internal.pipeline p union all select 0) i
left join pgembedd_internal.pipeline p on p.id = i.id
left join (select coalesce(pipeline_id, 0) as pipeline_id, sum(queued) as queued,
                  sum(queued) filter (where lane = 'fresh') as fresh,
                  sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing,
                  min(oldest) as oldest, min(oldest) filter (where lane = 'fresh') as fresh_oldest,
                  min(oldest) filter (where lane = 'backfill') as backfill_oldest, sum(due) as due,
                  sum(leased) as leased, min(due_since) as due_since, max(why) as why, sum(work) as work,
                  bool_or(estimated) as estimated
           from pgembedd_internal._queued() group by 1) q on q.pipeline_id = i.id
left join (select pipeline_id, sum(rows) filter (where kind = 'dead')::bigint as dead,
                  sum(rows) filter (where kind = 'blank')::bigint as blank,
                  sum(rows) filter (where kind = 'truncated')::bigint as truncated, bool_or(estimated) as estimated
           from pgembedd_internal._exceptions('pgembedd_internal.row_state', 'state') group by 1) r
    on r.pipeline_id = i.id
left join (select distinct on (w.pipeline_id) w.* from pgembedd_internal._recent_work() w) a on a.pipeline_id = i.id
left join job_seconds t on t.pipeline_id = i.id
left join job_seconds u on u.pipeline_id is null
cross join lateral (
    select case when p.id is not null then
        pgembedd_internal._stalled(p, q.due, q.leased, q.due_since, q.why, a.ended_at) end as stalled
    offset 0) s;  -- once, however many columns it goes into
comment on view pgembedd_internal._figures is
    'The figures of each pipeline, which status and metrics() show; those of number 0 are of jobs that belong to none.';

-- All columns of `status` but the coverage. It runs as our owner, so a reader of the view needs no right on the queues
-- and the tables, and sees nothing of them but names and numbers.
create or replace function pgembedd_internal._statuses() returns table (
    pipeline_id integer, pipeline text, source text, destination text, model text, fingerprint text, state text,
    reason text, blocked_by integer, queued bigint, queued_fresh bigint, queued_backfill bigint, oldest_age interval,
    failing bigint, dead bigint, blank bigint, truncated bigint, rows_per_minute numeric, lag interval, index text,
    index_due_at timestamptz, triggers boolean, time_left interval, queued_estimated boolean,
    dead_estimated boolean, recalled bigint)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set row_security = off
as $$
    select p.id, p.name,
           -- Of a table that was dropped the name is remembered; as a regclass it would be a number.
           case when _exists(p.source) then p.source::text else p.source_name end,
           coalesce(p.embedding_column,
                    case when _exists(p.embedding_table) then p.embedding_table::text else p.embedding_table_name end),
           p.model, p.fingerprint, f.state, concat_ws(' ', f.stalled, _shown_reason(p),
               case when f.queued > 0 then (select t.problem from push t) end),
           case when f.stalled is not null then (select b.pid from blocker(p.id) b) end, f.queued, f.queued_fresh,
           f.queued_backfill, clock_timestamp() - f.oldest, f.failing, f.dead, f.blank, f.truncated,
           f.rows_per_minute, f.lag, _index_state(p), p.index_due_at, p.triggers,
           case when f.state = 'running' then _time_left(f.queued, f.rows_per_minute) end, f.estimated,
           f.dead_estimated, f.recalled
    from pipeline p join _figures f on f.pipeline_id = p.id
$$;

-- A function of the view alone, because it reads tables: a query that leaves the column out does not pay for it. Owners
-- of tables look into them as themselves.
create or replace function pgembedd_internal._coverage_of(pipeline_id integer, waiting bigint) returns numeric
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$ select _coverage(p, waiting) from pipeline p where p.id = pipeline_id $$;

create or replace view pgembedd.status as
select s.pipeline, s.source, s.destination, s.model, s.fingerprint, s.state,
       -- What ran last may hold content: Postgres tells it to the callers of this view that may read it.
       nullif(concat_ws(' ', s.reason, case when s.blocked_by is not null then (
           select format('The transaction of pid %s has been open for %s, and ran last: %s.', a.pid,
                         date_trunc('second', clock_timestamp() - a.xact_start),
                         left(regexp_replace(a.query, '[[:space:]]+', ' ', 'g'), 100))
           from pg_stat_activity a where a.pid = s.blocked_by and a.xact_start is not null) end), '')
           as reason,
       s.queued, s.queued_fresh, s.queued_backfill, s.oldest_age, s.failing, s.dead, s.blank, s.truncated,
       s.rows_per_minute,
       pgembedd_internal._coverage_of(s.pipeline_id, s.queued + s.dead) as coverage, s.lag, s.index, s.index_due_at,
       s.triggers, s.time_left, s.queued_estimated, s.dead_estimated, s.recalled
from pgembedd_internal._statuses() s;
comment on view pgembedd.status is
    'One line a pipeline: its state, what is queued in both lanes '
    'and since when, what failed, how fast it goes, how far it is.';
