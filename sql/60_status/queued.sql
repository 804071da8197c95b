-- What is queued, by pipeline and lane; the pipeline is null for messages that are no job of ours.
create or replace function pgembedd._queued()
returns table (pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamptz)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one record;
begin
    for one in
        select q.name, q.lane
        from (values ('pgembedd_jobs', 'fresh'), ('pgembedd_backfill', 'backfill')) as q(name, lane)
        where to_regclass(_queue_table(q.name)) is not null
    loop
        return query execute format($q$
            select p.id, %L, sum(q.n)::bigint, sum(q.failing)::bigint, min(q.oldest)
            from (select %s as key, count(*) as n, min(q.enqueued_at) as oldest,
                         count(*) filter (where q.headers is not null
                             and pgembedd._note(q.headers, 'attempts') > 0) as failing
                  from %s q group by 1) q
            left join pgembedd.pipeline p on p.id::text = q.key
            group by p.id $q$, one.lane, _pipeline_key(), _queue_table(one.name));
    end loop;
end $$;
