-- The functions that a worker calls are SECURITY DEFINER with a pinned search_path and row_security = off, which turns
-- a policy that would hide rows into an error instead of a silent "gone". 90_rights/worker.sql grants EXECUTE on them.

-- Claims up to `qty` jobs for `lease_s` seconds. Jobs of a pipeline that does not run are parked, jobs of no pipeline
-- become dead letters, and a job that was read twice without an outcome is marked a suspect: its worker may have died
-- of it, so it is to be worked alone. With `poll_s` it waits that long for a first job, inside pgmq: for poolers that
-- do not pass LISTEN.
create or replace function pgembedd.claim(queue text, qty integer, lease_s integer, poll_s integer default 0)
returns setof pgembedd.job
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    msg_ids bigint[];
    read_cts integer[];
    messages jsonb[];
    notes jsonb[];
    enqueued timestamptz[];
begin
    if to_regclass(_queue_table(queue)) is null then
        raise exception 'There is no queue "%".', queue using errcode = 'undefined_object',
            hint = 'Run `pgembedd migrate`: it makes the queues of all pipelines.';
    end if;
    select array_agg(r.msg_id), array_agg(r.read_ct), array_agg(r.message), array_agg(r.headers),
           array_agg(r.enqueued_at)
        into msg_ids, read_cts, messages, notes, enqueued from _read_queue(queue, qty, lease_s, poll_s) r;
    return query select a.* from _admit(queue, msg_ids, read_cts, messages, notes, enqueued) a;
end $$;

create or replace function pgembedd._read_queue(queue text, qty integer, lease_s integer, poll_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if _dealt(queue) then
        return query select r.* from _deal(queue, qty, lease_s) r;
    else
        return query select r.* from _take_oldest(queue, qty, lease_s) r;
    end if;
    if not found and poll_s > 0 then
        return query select r.msg_id, r.read_ct, r.message, r.headers, r.enqueued_at
        from pgmq.read_with_poll(queue_name => queue, vt => lease_s, qty => qty, max_poll_seconds => poll_s) r;
    end if;
end $$;

-- The statement that reads the messages which the query `chosen` selects, as pgmq.read does; $1 is the lease. A join,
-- as in pgmq, would scan the whole queue for each message where an ANALYZE saw it empty, as during a bulk load.
-- `noting` is appended to SET.
create or replace function pgembedd._take(queue text, chosen text, noting text default '') returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$
        update %s m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1%s%s where m.msg_id = any (array(%s))
        returning m.msg_id, m.read_ct, m.message, m.headers, m.enqueued_at
        $q$, _queue_table(queue), case when exists (
                select from pg_attribute a where a.attrelid = to_regclass(_queue_table(queue))
                and a.attname = 'last_read_at' and not a.attisdropped)
            then ', last_read_at = clock_timestamp()' end, noting, chosen)
$$;

-- In the order of arrival, as pgmq.read.
create or replace function pgembedd._take_oldest(queue text, qty integer, lease_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q where q.vt <= clock_timestamp() order by q.msg_id limit $2 for update skip locked
        $q$, _queue_table(queue))) using make_interval(secs => lease_s), qty;
end $$;
