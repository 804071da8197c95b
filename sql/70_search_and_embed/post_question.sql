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
            'Call it on the primary; here pgembedd.search() takes the vector as embedding.');
    end if;
    if not exists (select from loopback) or _dblink() is null then
        perform _refuse('pgembedd.embed() is not set up in this database.', _embed_remedy());
    elsif _listeners() is null then
        raise exception 'No worker is connected that could embed the text.'
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'Start one with `pgembedd run`, or `pgembedd serve` where only questions are to be answered.';
    end if;
end $$;

-- Asks over the session's second connection and returns the vector as text. It stays open for the next question, unless
-- there was an error, or many sessions have one.
create or replace function pgembedd._put_question(question pgembedd.question, timeout interval) returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    deadline timestamptz := clock_timestamp() + timeout;
    kept text := _kept_line();
    line text := coalesce(kept, 'pgembedd ' || gen_random_uuid());
    posted boolean := false;
    answer record;
begin
    question.id := gen_random_uuid();
    begin
        posted := _post_over_kept(kept, question, timeout);
        if not posted then
            question.id := gen_random_uuid();  -- the other may have been posted nevertheless
            perform _disconnect(line);
            perform _connect(line);
            posted := true;
            perform _post(line, question, timeout);
        end if;
        select a.* into answer from _await(line, question.id, deadline) a;
        if kept is null or answer.crowded then perform _disconnect(line); end if;
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

create or replace function pgembedd._post(line text, question pgembedd.question, timeout interval) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format('select from %s.dblink($1, $2) as t(posted text)', _dblink())
    using line, _hide_statement(format('select pgembedd._post_question(%L, %L, %L, %L, %L, %L)',
        question.id, question.model, question.fingerprint, question.kind, question.content, timeout));
end $$;

-- False if the session has kept no connection, or the server has closed it meanwhile.
create or replace function pgembedd._post_over_kept(kept text, question pgembedd.question, timeout interval)
returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if kept is null or not _is_connected(kept) then return false; end if;
    perform _post(kept, question, timeout);
    return true;
exception when others then
    return false;
end $$;

-- Waits for the answer of a question. Embedding and refusal are null after `deadline`.
create or replace function pgembedd._await(
    line text, id uuid, deadline timestamptz, out embedding text, out refusal text, out crowded boolean
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    loop
        -- In short turns, so that a cancelled caller is not kept for long: before Postgres 17 dblink ignores signals.
        execute format('select * from %s.dblink($1, $2) as t(embedding text, refusal text, crowded boolean)', _dblink())
        into embedding, refusal, crowded
        using line, _hide_statement(format('select embedding, refusal, crowded from pgembedd._await_answer(%L, %L)',
            id, least(interval '200 ms', deadline - clock_timestamp())));
        exit when num_nonnulls(embedding, refusal) > 0 or clock_timestamp() >= deadline;
    end loop;
    if num_nonnulls(embedding, refusal) = 0 then
        execute format('select from %s.dblink($1, $2) as t(forgotten text)', _dblink())
        using line, _hide_statement(format('select pgembedd._forget_question(%L)', id));
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
