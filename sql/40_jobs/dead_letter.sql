-- A dead letter: the job leaves the queue with its reason and history, and the sweep leaves its row alone.
create or replace function pgembedd._dead_letter(
    queue text, msg_id bigint, pipeline_id integer, reason text, error text, attempts integer
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    job record;
begin
    execute format('delete from %s q where q.msg_id = $1 returning *', _queue_table(queue)) into job using msg_id;
    begin
        perform _record_death(queue, pipeline_id, job.message, reason, error, attempts, job.headers, job.enqueued_at);
    exception
        when transaction_rollback or lock_not_available or insufficient_resources then raise;
        when others then  -- whatever the message is like: one that cannot be recorded would come back for ever
            insert into dead_letter (queue, message, reason, error, attempts, enqueued_at)
            values (queue, jsonb_build_object('msg_id', msg_id), reason, format('It could not be kept: %s', sqlstate),
                    attempts, job.enqueued_at);
    end;
    perform _notify('dead_letter', pipeline_id, jsonb_build_object(
        'queue', queue, 'msg_id', msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts));
end $$;

create or replace function pgembedd._record_death(
    queue text, pipeline_id integer, message jsonb, reason text, error text, attempts integer, headers jsonb,
    enqueued_at timestamptz
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    insert into dead_letter (pipeline_id, queue, key, message, reason, error, attempts, history, enqueued_at)
    values ($2, $1, $3 -> 'id', coalesce($3, 'null'), $4, $5, $6,
            coalesce($7 -> 'pgembedd' -> 'history', '[]'), $8)
    on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
    set queue = excluded.queue, message = excluded.message, reason = excluded.reason, error = excluded.error,
        attempts = excluded.attempts, history = excluded.history, enqueued_at = excluded.enqueued_at,
        died_at = excluded.died_at;
    if $2 is not null and $3 ? 'id' then
        insert into row_state (pipeline_id, key, state) values ($2, $3 -> 'id', 'dead')
        on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
        set state = 'dead', dropped_tokens = null, since = clock_timestamp();
    end if;
end $$;
