-- The first events of an answer, and its place in the line. By our role, so that a caller writes no event itself; a
-- second call does nothing. Without any source it is refused at once, and no model is asked.
create or replace function pgembedd_internal._begin_answer(answer uuid) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
    one pgembedd_internal.answer;
    refusal constant text := 'The sources do not answer this question.';
begin
    select a.* into one from answer a where a.id = _begin_answer.answer and a.last_seq = 0 and a.attempt = 0 for update;
    if not found then return; end if;
    -- No asker fills the line of all: neither a role nor one of its users has more than a hundred answers in it.
    if (select count(*) from (select from answer a
                              where a.status in ('queued', 'generating') and a.role = one.role
                                and a.subject = one.subject limit 101) w) > 100 then
        raise exception using message = 'A hundred questions of yours wait for their answers.',
            hint = 'Ask again when some are answered.', errcode = 'configuration_limit_exceeded';
    end if;
    perform _check_language_model(one.pipeline, one.language_model);
    update answer a set language_model = coalesce(a.language_model, s.language_model),
        keep_until = clock_timestamp() + coalesce(s.keep, interval '30 days')
    from (values (one.pipeline)) as p(name) left join answer_settings s on s.pipeline = p.name
    where a.id = one.id;
    perform _add_events(one.id, 0, '{status,sources}',
        array[jsonb_build_object('status', 'searching', 'attempt', 0), '{}']);
    if exists (select from answer_source s where s.answer = one.id) then
        update answer a set due_at = clock_timestamp() where a.id = one.id;
        perform pg_notify('pgembedd_questions', '');
    else
        perform _add_events(one.id, 0, '{delta,status,done}',
            array[jsonb_build_object('text', refusal), '{"status": "refused", "attempt": 0}',
                  '{"status": "refused", "citations": []}']);
        update answer a set status = 'refused', answer = refusal, finished_at = clock_timestamp()
        where a.id = one.id;
    end if;
end $$;

-- Appends events, numbered, and tells the viewers. A NOTIFY for many: it takes a lock of the whole database.
create or replace function pgembedd_internal._add_events(
    answer uuid, attempt integer, events text[], data jsonb[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    last integer;
begin
    update answer a set last_seq = a.last_seq + cardinality(events) where a.id = _add_events.answer
    returning a.last_seq into last;
    insert into answer_events (answer, seq, attempt, event, data)
    select _add_events.answer, last - cardinality(events) + e.nth, _add_events.attempt, e.event, e.data
    from unnest(events, data) with ordinality as e(event, data, nth);
    perform pg_notify('pgembedd_answers', _add_events.answer::text);
end $$;
