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
    insert into dead_letter (pipeline_id, queue, key, message, reason, error, attempts, history, enqueued_at)
    values (pipeline_id, queue, job.message -> 'id', coalesce(job.message, 'null'), reason, error, attempts,
            coalesce(job.headers -> 'pgembedd' -> 'history', '[]'), job.enqueued_at)
    on conflict on constraint dead_letter_pipeline_id_key_key do update
    set queue = excluded.queue, message = excluded.message, reason = excluded.reason, error = excluded.error,
        attempts = excluded.attempts, history = excluded.history, enqueued_at = excluded.enqueued_at,
        died_at = excluded.died_at;
    if pipeline_id is not null and job.message ? 'id' then
        insert into row_state (pipeline_id, key, state) values (pipeline_id, job.message -> 'id', 'dead')
        on conflict on constraint row_state_pkey do update
        set state = 'dead', dropped_tokens = null, since = clock_timestamp();
    end if;
    perform _notify('dead_letter', pipeline_id, jsonb_build_object(
        'queue', queue, 'msg_id', msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts));
end $$;
