create or replace function pgembedd._queued()
returns table (pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamptz)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    lane record;
begin
    for lane in
        select l.queue as name, 'fresh' as kind from lanes() l
        union all select l.backfill_queue, 'backfill' from lanes() l
    loop
        continue when to_regclass(_queue_table(lane.name)) is null;
        return query execute format($q$
            select pgembedd._pipeline_of(coalesce(q.other, jsonb_build_object('id', 0, 'pipeline', q.named))), %L,
                   sum(q.n)::bigint, sum(q.failing)::bigint, min(q.oldest)
            from (select q.message ->> 'pipeline' as named,
                         case when not q.message ? 'pipeline' then q.message || '{"id": 0}' end as other,
                         count(*) as n, min(q.enqueued_at) as oldest,
                         count(*) filter (where q.headers is not null
                             and pgembedd._note(q.headers, 'attempts') > 0) as failing
                  from %s q group by 1, 2) q
            group by 1 $q$, lane.kind, _queue_table(lane.name));
    end loop;
end $$;
