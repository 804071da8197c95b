-- An answer whose table is locked or slow waits, ever longer, a minute at most. Its asker is told so. `waits`; `dead`,
-- where it is the `most`-th time; `lost`, where the answer is no longer held.
create or replace function pgembedd_internal.postpone_answer(
    answer uuid, attempt integer, message text, most integer default null
) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    times integer;
    told text;
begin
    if not _holds_answer(answer, attempt) then return 'lost'; end if;
    update answer a set postponed = a.postponed + 1 where a.id = postpone_answer.answer
    returning a.postponed into times;
    if times >= most then
        perform _end_in_failure(answer, attempt, message);
        return 'dead';
    end if;
    told := left(format('%s It waits, and is tried ever more rarely, after those of others.', message), 1000);
    update answer a set status = 'queued', reason = told,
        due_at = clock_timestamp() + _backoff(times, '2 s', '1 min')
    where a.id = postpone_answer.answer;
    perform _add_events(answer, attempt, '{status}',
        array[jsonb_build_object('status', 'queued', 'attempt', attempt, 'reason', told)]);
    return 'waits';
end $$;
comment on function pgembedd_internal.postpone_answer is
    'Put an answer back whose rows could not be read in time: it waits, ever longer.';

-- Whose questions are read one at a time and in one slot, so that no others wait for them: those about a table that one
-- waits for, and all of an asker who had to wait three times in ten minutes.
create or replace function pgembedd_internal._slow_askers() returns table (role name, subject text, pipeline text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select null::name, null::text, a.pipeline from answer a
    where a.status in ('queued', 'generating') and a.postponed > 0
    union
    select a.role, a.subject, null from answer a
    where a.postponed > 0
      and (a.status in ('queued', 'generating') or a.finished_at > clock_timestamp() - interval '10 minutes')
    group by a.role, a.subject having sum(a.postponed) >= 3
$$;
