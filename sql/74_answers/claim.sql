-- Answers are jobs as embeddings are: taken with a lease, fenced by the number of the attempt, tried a few times. The
-- row of an answer is its own job, so there is no message that could be lost or doubled.

-- Takes up to `at_most` answers, first of the role, and of the user of it, that had fewest in the last ten minutes. One
-- whose lease ran out counts as failed once more: its worker may have died of it. A worker names those that it `has`:
-- where the database was away for longer than a lease, it does not take them from itself. No table of a user's is
-- touched here, as all others wait for a claim; `slow` are those whose tables took too long (_slow_askers).
create or replace function pgembedd_internal.claim_answers(
    at_most integer, lease_s double precision, max_attempts integer default 3, has uuid[] default '{}',
    slow boolean default false
) returns table (
    id uuid, attempt integer, pipeline text, model text, question text, history jsonb)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
    one pgembedd_internal.answer;
begin
    for one in select d.* from _due_answers(at_most, has, slow) d
    loop
        if one.status = 'generating' and one.failures + 1 >= max_attempts then
            perform _end_in_failure(one.id, one.attempt, 'The workers that answered have ended in the midst of it.');
            continue;
        end if;
        update answer a set status = 'generating', attempt = one.attempt + 1,
            failures = one.failures + (one.status = 'generating')::integer,
            due_at = clock_timestamp() + make_interval(secs => lease_s)
        where a.id = one.id;
        perform _add_events(one.id, one.attempt + 1, '{status}',
            array[jsonb_build_object('status', 'generating', 'attempt', one.attempt + 1)]);
        return query select one.id, one.attempt + 1, one.pipeline, one.language_model, one.question, _history(one);
    end loop;
end $$;
comment on function pgembedd_internal.claim_answers is
    'Questions that wait for an answer, with what was said before; at most so many, with a lease.';

-- Locked, and first those of the role, and of the user of it, that had fewest in the last ten minutes.
create or replace function pgembedd_internal._due_answers(at_most integer, has uuid[], slow boolean)
returns setof pgembedd_internal.answer
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
    with had as materialized (
        select a.role, a.subject, count(*) as number from answer a
        where a.status = 'generating' and a.due_at > clock_timestamp()
           or a.status = 'queued' and a.postponed > 0
           or a.finished_at > clock_timestamp() - interval '10 minutes' and a.attempt > 0
        group by a.role, a.subject),
    slow_ones as materialized (select s.* from _slow_askers() s)
    select a.* from answer a
    where a.status in ('queued', 'generating') and a.due_at <= clock_timestamp() and a.id <> all (has)
      and $3 = exists (
          select from slow_ones s where s.pipeline = a.pipeline or s.role = a.role and s.subject = a.subject)
    order by (select coalesce(sum(h.number), 0) from had h where h.role = a.role),
             (select coalesce(sum(h.number), 0) from had h where h.role = a.role and h.subject = a.subject),
             a.due_at
    limit at_most for update skip locked
$$;

-- What was asked and answered before in the thread, oldest first; the last three.
create or replace function pgembedd_internal._history(one pgembedd_internal.answer) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce(jsonb_agg(jsonb_build_object('question', e.question, 'answer', e.answer) order by e.asked_at), '[]')
    from (select a.question, a.answer, a.asked_at from answer a
          where a.thread = one.thread and a.asked_at < one.asked_at and a.status = 'complete'
          order by a.asked_at desc limit 3) e
$$;

-- Extends leases; returns those that are still this worker's: not one that its asker is stopping.
create or replace function pgembedd_internal.extend_answers(
    answers uuid[], attempts integer[], lease_s double precision
) returns setof uuid
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
    update answer a set due_at = clock_timestamp() + make_interval(secs => lease_s)
    from _held_answers(answers, attempts) h where a.id = h
    returning a.id
$$;
comment on function pgembedd_internal.extend_answers is
    'Extend the leases of answers; returns those that are still held.';

-- Puts answers back that a worker will not finish; no attempt counts for it.
create or replace function pgembedd_internal.release_answers(answers uuid[], attempts integer[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
begin
    update answer a set status = 'queued', due_at = clock_timestamp()
    from _held_answers(answers, attempts) h where a.id = h;
    perform pg_notify('pgembedd_questions', '');
end $$;
comment on function pgembedd_internal.release_answers is 'Put answers back that this worker will not finish.';
