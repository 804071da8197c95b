-- Refuses a question that cannot be answered, before it is posted.
create or replace function pgembedd._check_question(question pgembedd.question, timeout interval) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if _blank(question.content) then
        perform _refuse('The text is blank, so it has no vector.',
            'Give pgembedd.embed() some words; NULL gives NULL.');
    elsif octet_length(question.content) > 1000000 then
        perform _refuse(format('The text has %s bytes, and pgembedd.embed() takes 1,000,000.',
            octet_length(question.content)),
            'No model reads so much: give it the beginning, or store the text in a table with a pipeline.');
    elsif question.kind is null or question.kind not in ('query', 'document') then
        perform _refuse(format('The kind %s is not known.', coalesce(quote_literal(question.kind), 'NULL')),
            'It is ''query'' or ''document''.');
    elsif timeout is null or timeout <= '0' or timeout > '10 min' then
        perform _refuse(format('The timeout %s is not usable.', coalesce(timeout::text, 'NULL')),
            'It is more than 0 and at most 10 minutes.');
    elsif pg_is_in_recovery() then
        perform _refuse('pgembedd.embed() does not work on a standby, where no question can be posted.',
            'Call it on the primary.');
    end if;
    if not exists (select from loopback) or _dblink() is null then
        perform _refuse('pgembedd.embed() is not set up in this database.', _embed_remedy());
    elsif _listeners() is null then
        raise exception 'No worker is connected that could embed the text.'
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Start one with `pgembedd run`, or `pgembedd serve` where only questions are to be answered.';
    end if;
end $$;

-- Asks over a connection of its own and returns the vector as text. The connection is closed in any case: as long as it
-- has a name, a role that may call dblink's functions in this session could use it.
create or replace function pgembedd._put_question(question pgembedd.question, timeout interval) returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    deadline timestamptz := clock_timestamp() + timeout;
    line text := 'pgembedd ' || gen_random_uuid();
    posted boolean := false;
    answer record;
begin
    question.id := gen_random_uuid();
    begin
        perform _connect(line);
        posted := true;
        select a.* into answer from _ask_worker(line, question, timeout, deadline) a;
        perform _disconnect(line);
    exception when query_canceled or others then
        perform _disconnect(line);
        if posted then
            perform _take_back(question.id);
        end if;
        raise;
    end;
    if answer.refusal is not null then
        raise exception '%', answer.refusal using errcode = 'object_not_in_prerequisite_state';
    elsif answer.embedding is null then
        raise exception 'No answer came within %, though % connected.', timeout,
            case cardinality(coalesce(_listeners(), '{}')) when 1 then 'a worker is'
                else cardinality(coalesce(_listeners(), '{}')) || ' workers are' end
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'They are busy, or still loading the model: ask again, '
                   'give it longer with timeout => …, or start another worker.';
    end if;
    return answer.embedding;
end $$;

-- Posts the question over the connection `line` and waits for its answer. Both null after `deadline`.
create or replace function pgembedd._ask_worker(
    line text, question pgembedd.question, timeout interval, deadline timestamptz, out embedding text, out refusal text
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format('select * from %s.dblink($1, $2) as t(posted text)', _dblink())
    using line, _hide_statement(format('select pgembedd._post_question(%L, %L, %L, %L, %L, %L)',
        question.id, question.model, question.fingerprint, question.kind, question.content, timeout));
    loop
        -- In short turns, so that a cancelled caller is not kept for long: before Postgres 17 dblink ignores signals.
        execute format('select * from %s.dblink($1, $2) as t(embedding text, refusal text)', _dblink())
        into embedding, refusal
        using line, _hide_statement(format('select embedding, refusal from pgembedd._await_answer(%L, %L)',
            question.id, least(interval '200 ms', deadline - clock_timestamp())));
        exit when num_nonnulls(embedding, refusal) > 0 or clock_timestamp() >= deadline;
    end loop;
    if num_nonnulls(embedding, refusal) = 0 then
        execute format('select * from %s.dblink($1, $2) as t(forgotten text)', _dblink())
        using line, _hide_statement(format('select pgembedd._forget_question(%L)', question.id));
    end if;
end $$;

-- The question of a caller who does not wait for it any more.
create or replace function pgembedd._take_back(id uuid) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    line text := 'pgembedd ' || gen_random_uuid();
begin
    begin
        perform _connect(line);
        execute format('select * from %s.dblink($1, $2) as t(forgotten text)', _dblink())
        using line, _hide_statement(format('select pgembedd._forget_question(%L)', id));
    exception when query_canceled or others then null;  -- it expires, and the next worker that looks throws it away
    end;
    perform _disconnect(line);
end $$;
