-- Releases a claim without an attempt; the jobs are due again after `delay_s` seconds.
create or replace function pgembedd.release(
    queue text, msg_ids bigint[], read_cts integer[], delay_s double precision default 0
) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    released integer := _release(queue, msg_ids, read_cts, make_interval(secs => delay_s));
begin
    if released > 0 and delay_s = 0 then perform _wake(queue); end if;
    return released;
end $$;

-- The condition under which a claimed message is still ours, for format(): %1$s is the queue table.
create or replace function pgembedd._release(
    queue text, msg_ids bigint[], read_cts integer[], delay interval, note jsonb default '{}'
) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    released integer;
begin
    execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q
        set vt = clock_timestamp() + $3 * (0.75 + 0.5 * random()),
            headers = pgembedd._with_notes(q.headers,
                jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1, 'alone', 0,
                    'answered', q.read_ct) || $4)
        from held where held.msg_id = q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, delay, note;
    get diagnostics released = row_count;
    return released;
end $$;
