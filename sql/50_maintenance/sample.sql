-- Records the depth of the queues. This runs for ever, so the next sample is due in a minute, or after fifty times as
-- long as this one took. An error here does not stop maintenance.
create or replace function pgembedd_internal._take_sample() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    began_at timestamptz := clock_timestamp();
begin
    begin
        insert into sample (at, pipeline_id, queued, backfill, oldest_age, backfill_oldest_age, failing, dead)
        with counted as materialized (
            select q.pipeline_id, q.lane, q.queued, q.failing, 0::bigint as dead, q.oldest from _queued() q
            union all select d.pipeline_id, null, 0, 0, d.rows, null from _exceptions('dead_letter', 'reason') d)
        select began_at, p.id, coalesce(sum(c.queued) filter (where c.lane = 'fresh'), 0),
               coalesce(sum(c.queued) filter (where c.lane = 'backfill'), 0),
               began_at - min(c.oldest) filter (where c.lane = 'fresh'),
               began_at - min(c.oldest) filter (where c.lane = 'backfill'),
               coalesce(sum(c.failing), 0), coalesce(sum(c.dead), 0)
        from counted c left join pipeline p on p.id = c.pipeline_id
        group by grouping sets ((), (p.id))
        having grouping(p.id) = 1 or p.id is not null;
    exception
        when lock_not_available or foreign_key_violation or transaction_rollback or insufficient_resources then null;
        when others then raise warning 'no sample was taken: %', sqlerrm;
    end;
    update installation set sample_due_at = greatest(
        -- A little less than a minute, for callers that tick once a minute.
        began_at + interval '50 s', clock_timestamp() + 50 * (clock_timestamp() - began_at));
end $$;
