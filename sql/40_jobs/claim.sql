-- The functions that a worker calls are SECURITY DEFINER with a pinned search_path and row_security = off, which turns
-- a policy that would hide rows into an error instead of a silent "gone". 90_rights/worker.sql grants EXECUTE on them.

-- Claims up to `qty` due jobs of one pipeline for `lease_s` seconds; none where the pipeline does not run, and one of a
-- slow one, if it is its turn.
create or replace function pgembedd.claim(pipeline_id integer, queue text, qty integer, lease_s integer)
returns setof pgembedd.job
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd.pipeline;
begin
    select p.* into one from pipeline p where p.id = claim.pipeline_id and p.state = 'running';
    if one.slow_until is not null then
        select t.* into one from _take_turn(one) t;
    end if;
    if one.id is not null then
        return query select j.* from _admit(one, queue, array(
            select m from _take_due(queue, one.id::text, case when one.slow_until is null then qty else 1 end,
                                    lease_s) m)) j;
        if not found and one.slow_until is not null then perform end_turn(one.id); end if;
    end if;
end $$;
comment on function pgembedd.claim is
    'Claim up to `qty` due jobs of one pipeline for `lease_s` seconds; none where the pipeline does not run.';

-- The statement that reads the messages which the query `chosen` selects, as pgmq.read does; $1 is the lease. A join,
-- as in pgmq, would scan the whole queue for each message where an ANALYZE saw it empty, as during a bulk load.
create or replace function pgembedd._take(queue text, chosen text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$
        update %s m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1%s where m.msg_id = any (array(%s))
        returning m.msg_id, m.read_ct, m.message, m.headers, m.enqueued_at
        $q$, _queue_table(queue), case when exists (
                select from pg_attribute a where a.attrelid = to_regclass(_queue_table(queue))
                and a.attname = 'last_read_at' and not a.attisdropped)
            then ', last_read_at = clock_timestamp()' end, chosen)
$$;

-- Reads the messages under one key that have been due for longest. One that comes back goes to the end.
create or replace function pgembedd._take_due(queue text, key text, qty integer, lease_s integer)
returns setof pgembedd.message
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
-- The index gives everything in order; a plan that sorts instead reads the whole queue.
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q where %s = $2 and q.vt <= $3 order by q.vt limit $4 for update skip locked
        $q$, _queue_table(queue), _pipeline_key()))
        -- A value, because no index is searched for clock_timestamp().
        using make_interval(secs => lease_s), key, clock_timestamp(), qty;
end $$;
