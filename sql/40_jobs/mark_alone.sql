-- Before a suspect is worked: note that it is alone now. If the worker dies, this is what counts as its failure.
create or replace function pgembedd_internal.mark_alone(queue text, msg_id bigint, read_ct integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    marked integer;
begin
    execute format($q$
        update %s q set message = pgembedd_internal._with_notes(q.message,
            jsonb_build_object('alone', pgembedd_internal._note(q.message, 'alone') + 1))
        where q.msg_id = $1 and q.read_ct = $2 and pgembedd_internal._note(q.message, 'answered') <> q.read_ct
        $q$, _queue_table(queue)) using msg_id, read_ct;
    get diagnostics marked = row_count;
    return marked = 1;
end $$;
comment on function pgembedd_internal.mark_alone is
    'Mark a suspect before it is worked alone. False when another worker has claimed the job.';
