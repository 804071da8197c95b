-- Releases a claim without an attempt; the jobs are due again after `delay_s` seconds. `why` is shown where nothing of
-- their pipeline is stored for long.
create or replace function pgembedd_internal.release(
    queue text, msg_ids bigint[], read_cts integer[], delay_s double precision default 0, why text default null
) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    released integer;
begin
    execute format($q$
        update %s q
        set vt = clock_timestamp() + pgembedd_internal._backoff(1, $3, $3),
            message = pgembedd_internal._with_notes(q.message, jsonb_build_object(
                'deferrals', pgembedd_internal._note(q.message, 'deferrals') + 1, 'alone', 0, 'answered', q.read_ct,
                'why', left($4, 500)))
        where q.msg_id = any (array(%s))
        $q$, _queue_table(queue), _held(queue)) using msg_ids, read_cts, make_interval(secs => delay_s), why;
    get diagnostics released = row_count;
    if released > 0 and delay_s = 0 then perform _wake(queue); end if;
    return released;
end $$;
comment on function pgembedd_internal.release is
    'Return jobs to the queue without an attempt, due after `delay_s` seconds. Returns how many.';

-- The query for the messages of the claims ($1, $2) that are still valid and have no outcome; it locks them.
create or replace function pgembedd_internal._held(queue text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select q.msg_id from %s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
        where q.msg_id = any ($1) and pgembedd_internal._note(q.message, 'answered') <> q.read_ct
        order by q.msg_id for update of q
        $q$, _queue_table(queue))
$$;
