-- A procedure, because a function would not see its own job answered. It has no SET clause, since such a procedure may
-- not COMMIT; hence all names are qualified.
create or replace procedure pgembedd.answer(
    pipeline text,
    question text,
    k integer default 6,
    filter jsonb default null,
    language_model text default null,
    thread uuid default null,
    timeout interval default '2 minutes',
    inout result jsonb default null
)
language plpgsql
as $$
declare
    deadline pg_catalog.timestamptz := pg_catalog.clock_timestamp() operator(pg_catalog.+) timeout;
    asked pg_catalog.uuid;
    state pg_catalog.jsonb;
    ignored pg_catalog.text;
begin
    ignored := pgembedd_internal._check_wait(timeout);
    asked := pgembedd.ask(pipeline, question, k, filter, language_model, thread);
    loop
        state := pgembedd_internal._answer_state(asked);
        exit when state operator(pg_catalog.->>) 'finished_at' is not null;
        if pgembedd_internal._is_untaken(asked) then
            raise exception 'No worker has taken the question %.', asked
                using errcode = 'insufficient_resources',
                    hint = 'It stays queued; start a worker with a language model: '
                           '`pgembedd run` with PGEMBEDD_LANGUAGE_HOST.';
        elsif pg_catalog.clock_timestamp() operator(pg_catalog.>) deadline then
            raise exception 'The answer % is still % after %.', asked,
                state operator(pg_catalog.->>) 'status', timeout
                using errcode = 'query_canceled',
                    hint = 'It is in pgembedd.answers once it is there; is a worker with a language model running?';
        end if;
        commit;
        perform pg_catalog.pg_sleep(0.05);
    end loop;
    result := pg_catalog.jsonb_strip_nulls(state operator(pg_catalog.-) 'finished_at'
        operator(pg_catalog.||) pg_catalog.jsonb_build_object('sources', (
            select pg_catalog.jsonb_agg(s.* order by s.n) from pgembedd.answer_sources(asked) s)));
end $$;
comment on procedure pgembedd.answer(text, text, integer, jsonb, text, uuid, interval, jsonb) is
    'Ask a question about a pipeline and wait for the answer: its text, sources and citations as one object.';
