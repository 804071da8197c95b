-- Extends a claim by `lease_s` seconds from now. Returns the ids whose claim is still valid; one that a store holds at
-- this moment is left as it is, as no claim takes it either.
create or replace function pgembedd_internal.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer)
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return query execute format($q$
        with extended as (
            update %1$s q set vt = clock_timestamp() + make_interval(secs => $3)
            where q.msg_id = any (array(%2$s skip locked)))
        select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
        where q.msg_id = any ($1) and pgembedd_internal._note(q.message, 'answered') <> q.read_ct
        $q$, _queue_table(queue), _held(queue)) using msg_ids, read_cts, lease_s;
end $$;
comment on function pgembedd_internal.extend is
    'Extend the lease of jobs to `lease_s` seconds from now. Returns the messages whose lease still holds.';
