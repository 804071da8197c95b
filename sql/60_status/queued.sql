-- What is queued, by pipeline and lane; the pipeline is null for messages that are no job of ours. `due` are the jobs
-- that do not wait for another attempt, `leased` those that a worker holds, `due_since` when the first of them was
-- queued, or its wait ended, and `why` a reason for which workers released some.
create or replace function pgembedd_internal._queued()
returns table (
    pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamptz, due bigint, leased bigint,
    due_since timestamptz, why text)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
begin
    for one in
        select q.name, q.lane
        from (values ('pgembedd_fresh', 'fresh'), ('pgembedd_backfill', 'backfill')) as q(name, lane)
        where to_regclass(_queue_table(q.name)) is not null
    loop
        return query execute format($q$
            select p.id, %L, sum(q.n)::bigint, sum(q.failing)::bigint, min(q.oldest), sum(q.due)::bigint,
                   sum(q.leased)::bigint, min(q.due_since), max(q.why)
            from (select %s as key, count(*) as n, min(q.enqueued_at) as oldest,
                         count(*) filter (where a.failed) as failing,
                         count(*) filter (where q.vt <= $1 or not a.failed) as due,
                         count(*) filter (where q.vt > $1 and q.read_ct > 0
                             and q.message -> 'pgembedd' -> 'answered' is distinct from to_jsonb(q.read_ct)) as leased,
                         min(case when a.failed then q.vt else q.enqueued_at end)
                             filter (where q.vt <= $1 or not a.failed) as due_since,
                         max(q.message -> 'pgembedd' ->> 'why') as why
                  from %s q cross join lateral (
                      select (q.message -> 'pgembedd' -> 'attempts' > '0') is true) as a(failed)
                  group by 1) q
            left join pgembedd_internal.pipeline p on p.id::text = q.key
            group by p.id $q$, one.lane, _pipeline_key(), _queue_table(one.name)) using clock_timestamp();
    end loop;
end $$;
