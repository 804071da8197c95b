-- What is queued, by pipeline and lane; the pipeline is null for messages that are no job of ours. `due` are the jobs
-- that do not wait for another attempt, `leased` those that a worker holds, `work` those that are one or the other,
-- `due_since` when the first of them was queued, or its wait ended, and `why` a reason for which workers released some.
-- A look at a lane costs as much as one of about 100,000 messages, however many there are: in a longer lane the numbers
-- of a pipeline that has many are estimates, and `estimated` says so. Rows that a backfill has not queued yet count.
create or replace function pgembedd_internal._queued()
returns table (
    pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamptz, due bigint, leased bigint,
    due_since timestamptz, why text, work bigint, estimated boolean)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
    percent double precision;
begin
    for one in
        select q.name, q.lane
        from (values ('pgembedd_fresh', 'fresh'), ('pgembedd_backfill', 'backfill')) as q(name, lane)
        where to_regclass(_queue_table(q.name)) is not null
    loop
        percent := _percent(_queue_table(one.name)::regclass, 750);
        return query
            select p.id, one.lane, sum(c.queued)::bigint, sum(c.failing)::bigint, min(c.oldest), sum(c.due)::bigint,
                   sum(c.leased)::bigint, min(c.due_since), max(c.why), sum(c.work)::bigint, bool_or(c.estimated)
            from (select c.* from _counts(one.name) c where percent = 100
                  union all select e.* from _estimates(one.name, percent) e where percent < 100) c
            left join pipeline p on p.id::text = c.key
            group by p.id;
    end loop;
    return query
        select b.pipeline_id, 'backfill', b.rows_left, 0::bigint, b.begun_at, b.rows_left, 0::bigint, b.begun_at, null,
               b.rows_left, true
        from open_backfill b;
end $$;

create or replace view pgembedd_internal._message_counts as
    select null::text as key, null::double precision as queued, null::double precision as failing,
           null::timestamptz as oldest, null::double precision as due, null::double precision as leased,
           null::timestamptz as due_since, null::text as why, null::double precision as work,
           null::boolean as estimated
    where false;
comment on view pgembedd_internal._message_counts is 'What is known of the messages of a key of a queue.';

-- The numbers of each key of a queue, from all of its messages.
create or replace function pgembedd_internal._counts(queue text) returns setof pgembedd_internal._message_counts
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return query execute _counting(_queue_table(queue) || ' q') using clock_timestamp();
end $$;

-- The same from a sample of that share of its pages. A key is counted where it has few messages: less than its part of
-- 10,000, or than a hundred, both of those that are due and of those that are not.
create or replace function pgembedd_internal._estimates(
    queue text, percent double precision
) returns setof pgembedd_internal._message_counts
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- The index gives the first messages of each key; a plan that sorts instead reads the whole queue.
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
    return query execute _render($q$
        with sampled as materialized ({sampled}),
        keys as materialized (select f.key from {first} f),
        few as (select greatest(100, 10000 / greatest(count(*), 1)) as most from keys),
        counted as materialized (
            select c.*, c.queued < few.most as is_all from few cross join keys k cross join lateral ({counted}) c)
        select c.key, c.queued, c.failing, c.oldest, c.due, c.leased, c.due_since, c.why, c.work, false
        from counted c where c.is_all
        union all
        select c.key, greatest(c.queued, s.queued * $2), greatest(c.failing, s.failing * $2),
               least(c.oldest, s.oldest), greatest(c.due, s.due * $2), greatest(c.leased, s.leased * $2),
               least(c.due_since, s.due_since), greatest(c.why, s.why), greatest(c.work, s.work * $2), true
        from counted c left join sampled s on s.key = c.key where not c.is_all
        $q$, jsonb_build_object(
            'sampled', _counting(_queue_table(queue) || ' q ' || _sample(percent)), 'first', _first_messages(queue),
            'counted', _counting(_render($q$(
                (select q.* from {queue} q where {key} = k.key and q.vt <= $1 order by {key}, q.vt limit few.most)
                union all
                (select q.* from {queue} q where {key} = k.key and q.vt > $1 order by {key}, q.vt limit few.most)) q
                $q$, jsonb_build_object('key', _pipeline_key(), 'queue', _queue_table(queue))))))
        using clock_timestamp(), 100 / percent;
end $$;

-- The statement that counts messages `q` by their keys, as _message_counts has it.
create or replace function pgembedd_internal._counting(messages text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select %s as key, count(*)::double precision as queued,
               (count(*) filter (where a.failed))::double precision as failing, min(q.enqueued_at) as oldest,
               (count(*) filter (where a.due))::double precision as due,
               (count(*) filter (where a.leased))::double precision as leased,
               min(case when a.failed then q.vt else q.enqueued_at end) filter (where a.due) as due_since,
               max(q.message -> 'pgembedd' ->> 'why') as why,
               (count(*) filter (where a.due or a.leased))::double precision as work, false as estimated
        from %s
        cross join lateral (select (q.message -> 'pgembedd' -> 'attempts' > '0') is true as failed offset 0) f
        cross join lateral (
            select f.failed, q.vt <= $1 or not f.failed as due,
                   q.vt > $1 and q.read_ct > 0
                   and q.message -> 'pgembedd' -> 'answered' is distinct from to_jsonb(q.read_ct) as leased) a
        group by 1 $q$, _pipeline_key(), messages)
$$;
