-- Extends a claim by `lease_s` seconds from now. Returns the ids whose claim is still valid.
create or replace function pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer)
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute format($q$
        update %s q set vt = clock_timestamp() + make_interval(secs => $3) where q.msg_id = any (array(%s))
        returning q.msg_id
        $q$, _queue_table(queue), _held(queue)) using msg_ids, read_cts, lease_s;
end $$;
