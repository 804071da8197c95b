-- The functions that a worker calls are SECURITY DEFINER with a pinned search_path and row_security = off, which turns
-- a policy that would hide rows into an error instead of a silent "gone". 90_rights/worker.sql grants EXECUTE on them.

-- Claims up to `qty` due jobs of one pipeline for `lease_s` seconds; none where the pipeline does not run, and one of a
-- slow one, if it is its turn.
create or replace function pgembedd_internal.claim(pipeline_id integer, queue text, qty integer, lease_s integer)
returns setof pgembedd_internal.job
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd_internal.pipeline;
begin
    select p.* into one from pipeline p where p.id = claim.pipeline_id and p.state = 'running';
    return query select j.* from _claim(one, queue, qty, lease_s) j;
end $$;
comment on function pgembedd_internal.claim is
    'Claim up to `qty` due jobs of one pipeline for `lease_s` seconds; none where the pipeline does not run.';

-- Claims messages of a pipeline that _take() gives; of a slow one a single message, if it is its turn (slow.sql).
create or replace function pgembedd_internal._claim(
    one pgembedd_internal.pipeline, queue text, qty integer, lease_s integer, posted jsonb default null
) returns setof pgembedd_internal.job
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    select t.* into one from _take_turn(one) t;
    if one.id is null then return; end if;
    return query select j.* from _admit(one, queue, array(select m from _take(
        queue, one.id::text, case when one.slow_until is null then qty else 1 end, lease_s, posted) m)) j;
    if not found and one.slow_until is not null then perform end_turn(one.id); end if;
end $$;

-- Reads messages as pgmq.read does: under one key those that have been due for longest, one that comes back goes to the
-- end; or those that were `posted`, each due or under the lease of the read that posted it. A join, as in pgmq, would
-- scan the whole queue for each message where an ANALYZE saw it empty, as during a bulk load.
create or replace function pgembedd_internal._take(
    queue text, key text, qty integer, lease_s integer, posted jsonb default null
) returns setof pgembedd_internal.message
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- The index gives everything in order; a plan that sorts instead reads the whole queue.
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
    return query execute format($q$
        update %1$s m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1%2$s
        where m.msg_id = any (array(%3$s limit $4))
        returning m.msg_id, m.read_ct, m.message, m.enqueued_at
        $q$, _queue_table(queue), case when exists (
                select from pg_attribute a where a.attrelid = to_regclass(_queue_table(queue))
                and a.attname = 'last_read_at' and not a.attisdropped)
            then ', last_read_at = clock_timestamp()' end,
        case when posted is not null then _posted_messages(queue) else format(
            'select q.msg_id from %s q where %s = $5 and q.vt <= $3 order by q.vt for update skip locked',
            _queue_table(queue), _pipeline_key()) end)
        -- A value, because no index is searched for clock_timestamp().
        using make_interval(secs => lease_s), posted, clock_timestamp(), qty, key;
end $$;
