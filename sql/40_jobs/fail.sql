-- Records a failed attempt. The outcome is retry (after a backoff), dead (a dead letter), or lost (another worker has
-- the job by now, or its number is that of a job for another key: _lock_jobs() says how). A job whose failure cannot be
-- recorded is tried again much later: no job may end a worker.
create or replace function pgembedd_internal.fail(
    queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean default false,
    key text default null
) returns table (outcome text, attempts integer, retry_in interval)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return query select f.* from _record_failure(queue, msg_id, read_ct, reason, error, permanent, key) f;
exception
    when transaction_rollback or lock_not_available or insufficient_resources or undefined_object then raise;
    when others then
        raise warning 'The failure of the job % in % could not be recorded: %', msg_id, queue, sqlerrm;
        execute format('update %s q set vt = clock_timestamp() + $3 where q.msg_id = $1 and q.read_ct = $2',
            _queue_table(queue)) using msg_id, read_ct, interval '10 min';
        return query select 'retry', 0, interval '10 min';
end $$;
comment on function pgembedd_internal.fail is
    'Record a failed attempt: the job is retried after a backoff, or becomes a dead letter.';

create or replace function pgembedd_internal._record_failure(
    queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean, key text
) returns table (outcome text, attempts integer, retry_in interval)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    job record;
    one pgembedd_internal.pipeline;
begin
    execute format('select q.* from %s q where q.msg_id = $1 and q.read_ct = $2 for update', _queue_table(queue))
        into job using _record_failure.msg_id, _record_failure.read_ct;
    if job.msg_id is null or (job.message -> 'id')::text <> key then
        outcome := 'lost'; return next; return;
    end if;
    attempts := _note(job.message, 'attempts') + 1;
    if job.message -> 'pgembedd' -> 'history' -> -1 -> 'read_ct' = to_jsonb(_record_failure.read_ct) then
        -- Told twice, because the first answer was lost with the connection: it counts once.
        outcome := 'retry'; attempts := attempts - 1; retry_in := job.vt - clock_timestamp();
        return next; return;
    end if;
    select p.* into one from pipeline p where p.id::text = job.message ->> 'pipeline';
    retry_in := coalesce(_backoff(attempts, one.retry_delay, one.retry_max_delay, one.retry_factor), '0');
    execute format($q$
        update %s q set vt = clock_timestamp() + $2, message = pgembedd_internal._with_notes(q.message, $3)
        where q.msg_id = $1
        $q$, _queue_table(queue)) using _record_failure.msg_id, retry_in, jsonb_build_object(
            'attempts', attempts, 'alone', 0, 'answered', read_ct, 'why', null,
            'history', coalesce(job.message -> 'pgembedd' -> 'history', '[]') || jsonb_build_object(
                'at', clock_timestamp(), 'read_ct', read_ct, 'reason', reason, 'error', left(error, 1000)));
    outcome := 'retry';
    if permanent or attempts >= coalesce(one.max_attempts, 1) then
        perform _dead_letter(queue, job.msg_id, one.id, reason, left(error, 4000), attempts);
        outcome := 'dead'; retry_in := null;
    else
        perform _notify('attempt_failed', one.id, jsonb_build_object(
            'queue', queue, 'msg_id', job.msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts,
            'retry_in_s', round(extract(epoch from retry_in)::numeric, 3)));
    end if;
    return next;
end $$;
