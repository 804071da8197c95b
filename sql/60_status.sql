-- What people look at: status, failures, wait_for.

create or replace function pgembedd._queued()
returns table (pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamptz)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    lane record;
begin
    for lane in
        select l.queue as name, 'fresh' as kind from lanes() l union all select l.backfill_queue, 'backfill' from lanes() l
    loop
        continue when to_regclass(_queue_table(lane.name)) is null;
        return query execute format($q$
            select pgembedd._pipeline_of(q.message), %L, sum(q.n)::bigint, sum(q.failing)::bigint, min(q.oldest)
            from (select q.message || '{"id": 0}' as message, count(*) as n, min(q.enqueued_at) as oldest,
                         count(*) filter (where pgembedd._note(q.headers, 'attempts') > 0) as failing
                  from %s q group by 1) q
            group by 1 $q$, lane.kind, _queue_table(lane.name));
    end loop;
end $$;

create or replace view pgembedd.status as
select p.name as pipeline, p.source::text as source, coalesce(p.embedding_column, p.embedding_table::text) as destination, p.model, p.fingerprint,
       p.state, p.state_reason as reason,
       coalesce(q.fresh, 0) as queued, coalesce(q.backfill, 0) as backfill,
       clock_timestamp() - q.oldest as oldest_age,
       coalesce(q.failing, 0) as failing, coalesce(r.dead, 0) as dead, coalesce(r.blank, 0) as blank,
       coalesce(r.truncated, 0) as truncated, round(coalesce(a.rows, 0) / 5.0, 1) as rows_per_minute,
       pgembedd._index_state(p) as index, p.index_due_at
from pgembedd.pipeline p
left join (select pipeline_id, sum(queued) filter (where lane = 'fresh') as fresh,
                  sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing, min(oldest) as oldest
           from pgembedd._queued() group by pipeline_id) q on q.pipeline_id = p.id
left join (select pipeline_id, count(*) filter (where state = 'dead') as dead,
                  count(*) filter (where state = 'blank') as blank, count(*) filter (where state = 'truncated') as truncated
           from pgembedd.row_state group by pipeline_id) r on r.pipeline_id = p.id
left join (select pipeline_id, sum(written + cleared + unchanged) as rows from pgembedd.activity
           where at > clock_timestamp() - interval '5 minutes' group by pipeline_id) a on a.pipeline_id = p.id;
comment on view pgembedd.status is
    'One line a pipeline: its state, what is queued in both lanes and since when, what failed, how fast it goes.';

create or replace view pgembedd.failures as
select p.name as pipeline, d.key, d.reason, d.error, d.attempts, d.history, d.enqueued_at, d.died_at, d.queue, d.message
from pgembedd.dead_letter d left join pgembedd.pipeline p on p.id = d.pipeline_id;
comment on view pgembedd.failures is 'Dead letters with their reasons; retry_failed() puts them back.';

-- A procedure, because a function would look at one snapshot for ever. It has no SET clause, since such a
-- procedure may not COMMIT; hence all names are qualified.
create or replace procedure pgembedd.wait_for(name text, timeout interval default '1 minute')
language plpgsql
as $$
declare
    one pgembedd.pipeline := pgembedd._pipeline(name);
    deadline timestamptz := pg_catalog.clock_timestamp() + timeout;
    waiting bigint;
begin
    if pg_catalog.pg_current_xact_id_if_assigned() is not null then
        raise exception 'wait_for cannot wait inside a transaction that has written: no worker sees its rows yet.'
            using errcode = 'active_sql_transaction', hint = 'COMMIT first.';
    end if;
    loop
        select s.queued + s.backfill into waiting from pgembedd.status s where s.pipeline = name;
        exit when waiting = 0;
        one := pgembedd._pipeline(name);
        if one.state <> 'running' then
            raise exception 'The pipeline "%" is %, with % jobs waiting: %', name, one.state, waiting, one.state_reason
                using errcode = 'object_not_in_prerequisite_state';
        elsif pg_catalog.clock_timestamp() > deadline then
            raise exception 'The pipeline "%" still has % jobs waiting after %.', name, waiting, timeout
                using errcode = 'query_canceled', hint = 'See pgembedd.status and pgembedd.failures; is a worker running?';
        end if;
        commit;
        perform pg_catalog.pg_sleep(0.1);
    end loop;
end $$;
comment on procedure pgembedd.wait_for is
    'Wait until nothing of the pipeline is queued; raises after the timeout, or when the pipeline does not run.';
