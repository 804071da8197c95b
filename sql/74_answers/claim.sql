-- Answers are jobs as embeddings are: taken with a lease, fenced by the number of the attempt, tried a few times. The
-- row of an answer is its own job, so there is no message that could be lost or doubled.

-- Takes up to `at_most` answers, first of the role, and of the user of it, that had fewest in the last ten minutes. One
-- whose lease ran out counts as failed once more: its worker may have died of it. A worker names those that it `has`:
-- where the database was away for longer than a lease, it does not take them from itself.
create or replace function pgembedd.claim_answers(
    at_most integer, lease_s double precision, max_attempts integer default 3, has uuid[] default '{}'
) returns table (id uuid, attempt integer, pipeline text, model text, question text, history jsonb, sources jsonb)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
    one pgembedd.answer;
    current jsonb;
begin
    for one in
        with had as materialized (
            select a.role, a.subject, count(*) as number from answer a
            where a.status = 'generating' and a.due_at > clock_timestamp()
               or a.finished_at > clock_timestamp() - interval '10 minutes' and a.attempt > 0
            group by a.role, a.subject)
        select a.* from answer a
        where a.status in ('queued', 'generating') and a.due_at <= clock_timestamp() and a.id <> all (has)
        order by (select coalesce(sum(h.number), 0) from had h where h.role = a.role),
                 (select coalesce(sum(h.number), 0) from had h where h.role = a.role and h.subject = a.subject),
                 a.due_at
        limit at_most for update skip locked
    loop
        if one.status = 'generating' and one.failures + 1 >= max_attempts then
            perform _end_in_failure(one.id, one.attempt, 'The workers that answered have ended in the midst of it.');
            continue;
        end if;
        current := _sources_to_send(one);
        continue when current is null;
        update answer a set status = 'generating', attempt = one.attempt + 1,
            failures = one.failures + (one.status = 'generating')::integer,
            due_at = clock_timestamp() + make_interval(secs => lease_s)
        where a.id = one.id;
        perform _add_events(one.id, one.attempt + 1, '{status}',
            array[jsonb_build_object('status', 'generating', 'attempt', one.attempt + 1)]);
        return query select one.id, one.attempt + 1, one.pipeline, one.model, one.question, _history(one), current;
    end loop;
end $$;
comment on function pgembedd.claim_answers is
    'Questions that wait for an answer, with their sources and what was said before; at most so many, with a lease.';

-- The sources for the language model. Null for an answer that has none, which has failed, and for one that waits: its
-- table is locked, or has another name or owner, which the upkeep follows.
create or replace function pgembedd._sources_to_send(one pgembedd.answer) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current jsonb;
begin
    current := _current_sources(one);  -- here, where its errors are caught
    if current is null then
        perform _end_in_failure(one.id, one.attempt,
            'The rows that it was to be answered from are gone or have other texts by now; ask again.');
    end if;
    return current;
exception
    when others then
        if sqlstate = '55P03'  -- lock_not_available
           or sqlstate = '42P01' and one.asked_at > clock_timestamp() - interval '5 minutes'  -- undefined_table
              and exists (select from pipeline p join pg_class c on c.oid = p.source where p.name = one.pipeline)
        then
            update answer a set due_at = clock_timestamp() + interval '2 seconds' where a.id = one.id;
        else
            perform _end_in_failure(one.id, one.attempt, 'The rows that it was to be answered from cannot be read.');
        end if;
        return null;
end $$;

-- The sources whose rows are there and have the texts that they had when they were found; null where none has. No model
-- is shown what was deleted or changed while the question waited. The rows are read as their owner: what a policy hides
-- from the asker by now is not known here. Dropping a pipeline deletes its answers.
create or replace function pgembedd._current_sources(one pgembedd.answer) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'  -- others wait for this claim
set datestyle = 'ISO' set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = '1'
set bytea_output = 'hex'
as $$
declare
    made pgembedd.pipeline;
    found_ones jsonb;
    given jsonb;
begin
    select p.* into made from pipeline p where p.name = one.pipeline;
    select jsonb_agg(jsonb_build_object('n', s.n, 'title', s.title, 'excerpt', s.excerpt) order by s.n),
           jsonb_build_object('keys', jsonb_agg(s.key order by s.n), 'hashes', jsonb_agg(s.texts_hash order by s.n))
    into found_ones, given
    from answer_source s where s.answer = one.id;
    if made.id is null or found_ones is null then return found_ones; end if;
    return (select jsonb_agg(found_ones -> (p.place::integer - 1) order by p.place::integer)
            from jsonb_array_elements_text(_everyday(made, 'same texts', given)) as p(place));
end $$;

-- What was asked and answered before in the thread, oldest first; the last three.
create or replace function pgembedd._history(one pgembedd.answer) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select coalesce(jsonb_agg(jsonb_build_object('question', e.question, 'answer', e.answer) order by e.asked_at), '[]')
    from (select a.question, a.answer, a.asked_at from answer a
          where a.thread = one.thread and a.asked_at < one.asked_at and a.status = 'complete'
          order by a.asked_at desc limit 3) e
$$;

-- Extends leases; returns those that are still this worker's: not one that its asker is stopping.
create or replace function pgembedd.extend_answers(
    answers uuid[], attempts integer[], lease_s double precision
) returns setof uuid
language sql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = on
as $$
    update answer a set due_at = clock_timestamp() + make_interval(secs => lease_s)
    from _held_answers(answers, attempts) h where a.id = h
    returning a.id
$$;
comment on function pgembedd.extend_answers is 'Extend the leases of answers; returns those that are still held.';

-- Puts answers back that a worker will not finish; no attempt counts for it.
create or replace function pgembedd.release_answers(answers uuid[], attempts integer[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = on
as $$
begin
    update answer a set status = 'queued', due_at = clock_timestamp()
    from _held_answers(answers, attempts) h where a.id = h;
    perform pg_notify('pgembedd_questions', '');
end $$;
comment on function pgembedd.release_answers is 'Put answers back that this worker will not finish.';
