-- As the caller, whom a policy lets set this status alone, of answers that it asked for or whose thread it began. The
-- worker finds out as it writes or extends its lease, and closes the request to the language model.
create or replace function pgembedd.stop_answer(answer uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
    stopped boolean;
    ignored text := _subject();  -- which the policies ask for: its refusal is not told with a statement
begin
    update answer a set status = 'stopped'
    where a.id = stop_answer.answer and a.status in ('queued', 'generating');
    stopped := found;
    perform _end_stopped(stop_answer.answer);
    if not exists (select from answer a where a.id = stop_answer.answer) then
        raise exception using message = format('There is no answer %s, or it is of others.', stop_answer.answer),
            hint = 'The view pgembedd.answers has yours.', errcode = 'no_data_found';
    elsif exists (select from answer a where a.id = stop_answer.answer and a.status in ('queued', 'generating')) then
        raise exception 'The answer % is of others.', stop_answer.answer
            using errcode = 'insufficient_privilege', hint = 'Who asked stops it, or who began its thread.';
    end if;
    return stopped;
end $$;
comment on function pgembedd.stop_answer is
    'Stop an answer of yours that is queued or being made; what was written stays. False where it was finished.';

-- By our role, as a caller writes no event itself.
create or replace function pgembedd_internal._end_stopped(answer uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    one pgembedd_internal.answer;
begin
    update answer a set finished_at = clock_timestamp(),
        answer = (select string_agg(e.data ->> 'text', '' order by e.seq) from answer_events e
                  where e.answer = a.id and e.event = 'delta' and e.attempt = a.attempt),
        citations = array(select (e.data ->> 'n')::integer from answer_events e
                          where e.answer = a.id and e.event = 'citation' and e.attempt = a.attempt order by e.seq)
    where a.id = _end_stopped.answer and a.status = 'stopped' and a.finished_at is null
    returning a.* into one;
    if found then
        perform _add_events(one.id, one.attempt, '{status,done}',
            array[jsonb_build_object('status', 'stopped', 'attempt', one.attempt),
                  jsonb_build_object('status', 'stopped', 'citations', one.citations)]);
    end if;
end $$;
