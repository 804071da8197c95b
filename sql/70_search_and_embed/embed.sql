-- embed() returns the vector of a text inside a query. The text has to reach a worker, and its vector has to come back,
-- while the caller's transaction is open: so embed() opens a second connection to its own database, whose statements
-- commit at once. A question is a row of an unlogged table; a worker is notified of it by NOTIFY. The second
-- connection's role may call the three functions of await_answer.sql and nothing else.

create or replace function pgembedd.embed(
    content text, pipeline text default null, model text default null, kind text default 'query',
    timeout interval default '5 s'
) returns vector
language plpgsql stable security definer cost 1000
set search_path = pg_catalog, pgembedd, pg_temp
set standard_conforming_strings = on  -- all functions called here have backslashes
as $$
declare
    question pgembedd.question;
    secret uuid := (select l.secret from loopback l);
    key text;
    answer text;
begin
    if content is null then return null; end if;
    select m.wanted_model, m.wanted_fingerprint into question.model, question.fingerprint
    from _model_asked(pipeline, model) m;
    question.kind := kind;
    question.content := content;
    key := encode(sha256(convert_to(question::text, getdatabaseencoding())), 'hex');
    answer := _cached_answer(secret, key);
    if answer is null then
        perform _check_question(question, timeout);
        answer := _put_question(question, timeout);
        perform set_config('pgembedd.answer', key || _seal(secret, key, answer) || answer, true);
    end if;
    return answer;
end $$;
comment on function pgembedd.embed is
    'The vector of a text, from a running worker: order by embedding <=> pgembedd.embed(''…''). Null for null.';

-- Which model, and of which fingerprint its vectors must be; no fingerprint where nothing is pinned yet.
create or replace function pgembedd._model_asked(
    pipeline text, model text, out wanted_model text, out wanted_fingerprint text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    models text[];
    fingerprints text[];
begin
    if pipeline is not null then
        one := _pipeline(pipeline);
        if model is not null and model <> one.model then
            perform _refuse(format('The pipeline "%s" has the model %s, not %s.', one.name, one.model, model),
                'Name the pipeline or the model, not both.');
        end if;
        wanted_model := one.model;
        wanted_fingerprint := one.fingerprint;
        return;
    end if;
    -- While a model is being changed the next one is there, too, and afterwards the previous one: not what is searched.
    select array_agg(distinct p.model), array_agg(distinct p.fingerprint) filter (where p.fingerprint is not null)
    into models, fingerprints
    from pipeline p where case when _model_asked.model is null then p.shadow_of is null
                               else p.model = _model_asked.model end;
    wanted_model := coalesce(model, models[1]);
    wanted_fingerprint := fingerprints[1];
    if wanted_model is null then
        perform _refuse('There is no pipeline, so nothing says which model is meant.',
            'Name one with model => ''gte-small'', or make a pipeline with pgembedd.create_pipeline().');
    elsif cardinality(models) > 1 then
        perform _refuse(format('The pipelines have several models: %s.', array_to_string(models, ', ')),
            'Name the one that you search, with pipeline => ''…''.');
    elsif cardinality(fingerprints) > 1 then
        perform _refuse(format('Pipelines hold vectors of several states of %s: %s.', wanted_model,
            array_to_string(fingerprints, ', ')),
            'Name the one that you search, with pipeline => ''…''.');
    end if;
end $$;

-- A search without an index calls embed() for every row, so the last answer of a transaction is kept in a setting of
-- it. Every role may write settings; the seal, whose secret only the owner knows, proves that the answer is ours.
create or replace function pgembedd._seal(secret uuid, key text, answer text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select encode(sha256(convert_to(secret || key || answer || secret, getdatabaseencoding())), 'hex') $$;

create or replace function pgembedd._cached_answer(secret uuid, key text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    memo text := current_setting('pgembedd.answer', true);  -- key, seal, answer
begin
    if starts_with(memo, key) and substr(memo, 65, 64) = _seal(secret, key, substr(memo, 129)) then
        return substr(memo, 129);
    end if;
    return null;
end $$;
