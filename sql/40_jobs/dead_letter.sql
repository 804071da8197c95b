-- A dead letter: the job leaves the queue with its reason and history, and the sweep leaves its row alone.
create or replace function pgembedd_internal._dead_letter(
    queue text, msg_id bigint, pipeline_id integer, reason text, error text, attempts integer
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    job record;
begin
    execute format('delete from %s q where q.msg_id = $1 returning *', _queue_table($1)) into job using $2;
    begin
        insert into dead_letter (pipeline_id, queue, key, message, reason, error, attempts, history, enqueued_at)
        values ($3, $1, job.message -> 'id', coalesce(_without_notes(job.message), 'null'), $4, $5, $6,
                coalesce(job.message -> 'pgembedd' -> 'history', '[]'), job.enqueued_at)
        on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
        set queue = excluded.queue, message = excluded.message, reason = excluded.reason, error = excluded.error,
            attempts = excluded.attempts, history = excluded.history, enqueued_at = excluded.enqueued_at,
            died_at = excluded.died_at;
        if $3 is not null and job.message ? 'id' then
            insert into row_state (pipeline_id, key, state) values ($3, job.message -> 'id', 'dead')
            on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
            set state = 'dead', dropped_tokens = null, since = clock_timestamp();
        end if;
    exception
        when transaction_rollback or lock_not_available or insufficient_resources then raise;
        when others then  -- whatever the message is like: one that cannot be recorded would come back for ever
            insert into dead_letter (queue, message, reason, error, attempts, enqueued_at)
            values ($1, jsonb_build_object('msg_id', $2), $4, format('It could not be kept: %s', sqlstate), $6,
                    job.enqueued_at);
    end;
    perform _notify('dead_letter', $3, jsonb_build_object(
        'queue', $1, 'msg_id', $2, 'key', job.message -> 'id', 'reason', $4, 'attempts', $6));
end $$;
