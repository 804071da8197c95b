-- The functions with which a worker answers questions.

-- From now on this session answers questions, and hears of each by NOTIFY.
create or replace function pgembedd.hear_questions() returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    listen pgembedd_questions;
    delete from listener l where not _alive(l.pid, l.backend_start);
    insert into listener select a.pid, a.backend_start from pg_stat_activity a where a.pid = pg_backend_pid()
    on conflict (pid) do update set backend_start = excluded.backend_start;
end $$;
comment on function pgembedd.hear_questions is 'Answer questions in this session from now on.';

-- Takes up to `at_most` questions; also those of a worker that is gone, and none that this one has declined. Expired
-- questions are deleted. `known`: a pipeline has that model.
create or replace function pgembedd.take_questions(at_most integer default 8)
returns table (id uuid, model text, fingerprint text, known boolean, kind text, content text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set enable_seqscan = off  -- an old snapshot somewhere keeps what was deleted: look at none of it
as $$
#variable_conflict use_column
declare
    at_present timestamptz := clock_timestamp();
begin
    perform _forget_questions(at_present - interval '10 s');
    return query
        with picked as materialized (
            select f.id from question f
            where f.expires_at > at_present and f.embedding is null and f.refusal is null
              and (f.taken_by is null or not f.taken_by = any (_listeners()))
              and not pg_backend_pid() = any (f.declined_by)
            order by f.asked_at limit at_most for update skip locked)
        update question q set taken_by = pg_backend_pid() from picked where q.id = picked.id
        returning q.id, q.model, q.fingerprint, exists (select from pipeline p where p.model = q.model),
                  q.kind, q.content;
end $$;
comment on function pgembedd.take_questions is
    'Texts that wait in pgembedd.embed() '
    'for their vectors; at most so many.';

-- Deletes the questions that expired after `since`.
create or replace function pgembedd._forget_questions(since timestamptz default '-infinity') returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set enable_seqscan = off
as $$
declare
    at_present timestamptz := clock_timestamp();
begin
    delete from question q using (
        select f.id from question f where f.expires_at >= since and f.expires_at < at_present for update skip locked) f
    where q.id = f.id;
end $$;

-- Stores each question's vector, or a sentence why there is none. Returns how many were still this session's.
create or replace function pgembedd.answer_questions(ids uuid[], embeddings vector[], refusals text[]) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    answered integer;
begin
    update question q set embedding = a.embedding, refusal = a.refusal, content = null
    from unnest(ids, embeddings, refusals) as a(id, embedding, refusal)
    where q.id = a.id and q.taken_by = pg_backend_pid();
    get diagnostics answered = row_count;
    return answered;
end $$;
comment on function pgembedd.answer_questions is 'Give each question its vector, or a sentence why there is none.';

-- This worker cannot answer, but another might: it has another model, or another precision. When all that are there
-- have declined, the caller is told the last one's reason.
create or replace function pgembedd.decline_question(id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    declined integer[];
begin
    update question q set taken_by = null, declined_by = q.declined_by || pg_backend_pid()
    where q.id = decline_question.id and q.taken_by = pg_backend_pid() returning q.declined_by into declined;
    if _listeners() <@ declined then
        update question q set refusal = reason, content = null where q.id = decline_question.id;
    else
        perform pg_notify('pgembedd_questions', '');
    end if;
end $$;
comment on function pgembedd.decline_question is
    'Leave a question to another worker; the '
    'reason is the answer when all have declined.';

-- The process ids of the sessions that answer, null where there are none. The view of other sessions is one of the
-- whole transaction, unless it is cleared.
create or replace function pgembedd._listeners() returns integer[]
language sql volatile
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select pg_stat_clear_snapshot();
    select array_agg(l.pid) from listener l where _alive(l.pid, l.backend_start)
$$;
