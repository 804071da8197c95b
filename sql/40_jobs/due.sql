-- The running pipelines of that task that have jobs due, and the queues they have them in, each at most once. With
-- `names` only those pipelines, of `lane` only that queue, none that the caller cannot serve, and none that pauses
-- (slow.sql). Waits up to `poll_s` seconds for the first, for poolers that do not pass LISTEN. `idle`: where nothing is
-- due the worker is about to sleep, so the triggers are asked to NOTIFY, and all queues are looked at once more.
create or replace function pgembedd_internal.due(
    names text[] default null, poll_s double precision default 0, unserved integer[] default '{}',
    lane text default null, idle boolean default false, task text default 'embed'
) returns table (pipeline_id integer, queue text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    until timestamptz := clock_timestamp() + make_interval(secs => poll_s);
    ignored text := _queue_table(coalesce(lane, 'pgembedd_fresh'));  -- no other queue
begin
    loop
        return query
            select p.id, q.name
            from (select n as name from unnest(_queues()) as n where lane is null or n = lane) q
            cross join lateral _due_keys(q.name) as d(key)
            join pipeline p on p.id::text = d.key
            where p.state = 'running' and p.task = due.task and (names is null or p.name = any (names))
              and not p.id = any (unserved) and (p.slow_until is null or p.slow_until <= clock_timestamp());
        exit when found;
        if idle then
            perform set_idle(true);
            idle := false;
            lane := null;
            continue;
        end if;
        exit when clock_timestamp() >= until;
        perform pg_sleep(least(0.1, extract(epoch from until - clock_timestamp())));
    end loop;
end $$;
comment on function pgembedd_internal.due is 'The running pipelines that have jobs due, and in which queue.';

-- The keys under which a queue has messages that are due, or a backfill has rows to queue: one look into the index for
-- each that has messages, at the first of them. What is no job of a pipeline becomes a dead letter, so that it is not
-- looked at again.
create or replace function pgembedd_internal._due_keys(queue text) returns setof text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- The index gives the first message of each key; a plan that sorts instead reads the whole queue.
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    keys text[];
begin
    if to_regclass(_queue_table(queue)) is null then
        raise exception 'The queue "%" is missing.', queue using errcode = 'undefined_object',
            hint = 'Run `pgembedd migrate`, which makes it.';
    end if;
    execute format('select array_agg(f.key) from %s f where f.vt <= $1', _first_messages(queue))
        -- A value, because no index is searched for clock_timestamp().
        into keys using clock_timestamp();
    -- Messages that name no pipeline: of another program, or of a pipeline that was dropped this moment. A hundred at a
    -- time: a claim waits for them, and a statement_timeout would undo them all.
    perform _dead_letter(queue, m.msg_id, null, 'unknown_pipeline',
        'No pipeline has this job: pgembedd''s queues are for its own triggers.', 0)
    from (select k.key from unnest(keys) as k(key)
          where not exists (select from pipeline p where p.id::text = k.key) limit 100) f
    cross join lateral _take(queue, f.key, 100, 60) m;
    return query
        select k.key from unnest(keys) as k(key)
        union select b.pipeline_id::text from open_backfill b where queue = 'pgembedd_backfill';
end $$;

-- The key and the vt of the first message of each key of a queue, of 10,000 keys at most, as a FROM item.
create or replace function pgembedd_internal._first_messages(queue text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$(
        with recursive first(key, vt) as (
            (select {key}, q.vt from {queue} q order by {key}, q.vt limit 1)
            union all
            select n.key, n.vt from first cross join lateral (
                select {key} as key, q.vt from {queue} q where {key} > first.key order by {key}, q.vt limit 1) n)
        select first.* from first limit 10000)$q$,
        jsonb_build_object('key', _pipeline_key(), 'queue', _queue_table(queue)))
$$;
