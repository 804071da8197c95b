-- What a worker writes of answers, fenced by the attempt.

-- Appends events to any number of answers, in the order given. Returns those that are still this worker's; of the
-- others nothing is written.
create or replace function pgembedd_internal.write_answers(
    answers uuid[], attempts integer[], events text[], data jsonb[]
) returns setof uuid
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
declare
    one record;
begin
    for one in
        select w.answer, w.attempt, array_agg(w.event order by w.nth) as events,
               array_agg(w.data order by w.nth) as data
        from unnest(answers, attempts, events, data) with ordinality as w(answer, attempt, event, data, nth)
        group by w.answer, w.attempt order by w.answer  -- in one order, so that no two writers wait for each other
    loop
        continue when not _holds_answer(one.answer, one.attempt);
        perform _add_events(one.answer, one.attempt, one.events, one.data);
        return next one.answer;
    end loop;
end $$;
comment on function pgembedd_internal.write_answers is
    'Append deltas and citations to answers; returns those that are still held.';

-- The last of `events` is the one that ends it: done. Before it stands the status, as it stands before what a worker
-- begins. False where the answer is no longer held.
create or replace function pgembedd_internal.finish_answer(
    answer uuid, attempt integer, status text, content text, citations integer[], events text[], data jsonb[]
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
begin
    if not _holds_answer(answer, attempt) then return false; end if;
    update answer a set status = finish_answer.status, answer = content, citations = finish_answer.citations,
        usage = data[cardinality(data)] -> 'tokens', finished_at = clock_timestamp()
    where a.id = finish_answer.answer;
    perform _add_events(answer, attempt,
        events[:cardinality(events) - 1] || '{status}'::text[] || events[cardinality(events)],
        data[:cardinality(data) - 1] || jsonb_build_object('status', status, 'attempt', attempt)
            || data[cardinality(data)]);
    return true;
end $$;
comment on function pgembedd_internal.finish_answer is
    'Store an answer with its citations and its last events; false where it is no longer held.';

-- Returns `retry`, after `delay_s` or else a while that doubles; `dead`, when it was the last attempt or no other can
-- succeed; `lost`, where the answer is no longer held.
create or replace function pgembedd_internal.fail_answer(
    answer uuid, attempt integer, message text, permanent boolean, delay_s double precision default null,
    max_attempts integer default 3
) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
declare
    failed integer;
begin
    if not _holds_answer(answer, attempt) then return 'lost'; end if;
    select a.failures + 1 into failed from answer a where a.id = fail_answer.answer;
    if permanent or failed >= max_attempts then
        perform _end_in_failure(answer, attempt, message);
        return 'dead';
    end if;
    update answer a set status = 'queued', failures = failed, reason = left(message, 1000),
        due_at = clock_timestamp() + coalesce(make_interval(secs => delay_s), _backoff(failed))
    where a.id = fail_answer.answer;
    perform _add_events(answer, attempt, '{status}',
        array[jsonb_build_object('status', 'queued', 'attempt', attempt, 'reason', left(message, 1000))]);
    return 'retry';
end $$;
comment on function pgembedd_internal.fail_answer is
    'Note why an attempt failed; it is tried again after a while, or the answer has failed.';

create or replace function pgembedd_internal._end_in_failure(answer uuid, attempt integer, reason text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    update answer a set status = 'failed', failures = a.failures + 1, reason = left(_end_in_failure.reason, 1000),
        finished_at = clock_timestamp()
    where a.id = _end_in_failure.answer;
    perform _add_events(answer, attempt, '{error}', array[jsonb_build_object('message', left(reason, 1000))]);
end $$;

create or replace function pgembedd_internal._holds_answer(answer uuid, attempt integer) returns boolean
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select exists (select from _held_answers(array[answer], array[attempt])) $$;

-- The answers that are still held, locked, so that no other attempt begins meanwhile. One that another session has
-- locked counts as lost and is not waited for: its asker is stopping it, in a transaction that may take any time.
create or replace function pgembedd_internal._held_answers(answers uuid[], attempts integer[]) returns setof uuid
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return query
        select a.id from answer a join unnest(answers, attempts) as h(id, attempt) using (id)
        where a.attempt = h.attempt and a.status = 'generating'
        order by a.id for update of a skip locked;
end $$;
