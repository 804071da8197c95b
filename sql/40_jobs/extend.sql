-- Extends a claim by `lease_s` seconds from now. Returns the ids whose claim is still valid.
create or replace function pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer)
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q set vt = clock_timestamp() + make_interval(secs => $3) from held where held.msg_id = q.msg_id
        returning q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, lease_s;
end $$;
