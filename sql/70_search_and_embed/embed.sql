-- embed() returns the vector of a text inside a query. The text has to reach a worker, and its vector has to come back,
-- while the caller's transaction is open: so embed() opens a second connection to its own database, whose statements
-- commit at once. A request is a row of an unlogged table; a worker is notified of it by NOTIFY. The second
-- connection's role may call the three functions of await_vector.sql and nothing else.

create or replace function pgembedd.embed(
    content text, pipeline text default null, model text default null, kind text default 'query',
    timeout interval default '5 s'
) returns @extschema:vector@.vector
language plpgsql stable security definer cost 1000
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set standard_conforming_strings = on  -- all functions called here have backslashes
as $$
declare
    request pgembedd_internal.embed_request;
    key text;
    vector_text text;
    memo text;  -- of the transaction: key, seal, vector_text
    meant record;
    ignored text;
begin
    if content is null then return null; end if;
    ignored := _check_texts('{content,model,kind}', array[content, model, kind]);
    meant := _model_asked(pipeline, model);
    request.model := meant.wanted_model;
    request.fingerprint := meant.wanted_fingerprint;
    request.kind := kind;
    request.content := content;
    key := encode(sha256(convert_to(request::text, getdatabaseencoding())), 'hex');
    memo := current_setting('pgembedd.vector', true);
    if starts_with(memo, key) then
        vector_text := substr(memo, 129);
        if substr(memo, 65, 64) = _seal(key, vector_text) then return vector_text; end if;
    end if;
    ignored := _check_embed_request(request, timeout);
    vector_text := _make_embed_request(request, timeout);
    perform set_config('pgembedd.vector', key || _seal(key, vector_text) || vector_text, true);
    return vector_text;
end $$;
comment on function pgembedd.embed is
    'The vector of a text, from a running worker: order by embedding <=> pgembedd.embed(''...''). Null for null.';

-- Which model, and of which fingerprint its vectors must be; no fingerprint where nothing is pinned yet.
create or replace function pgembedd_internal._model_asked(
    pipeline text, model text, out wanted_model text, out wanted_fingerprint text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    other_model text;
    other_fingerprint text;
    ignored text;
begin
    if pipeline is not null then
        one := _pipeline(pipeline);
        ignored := _check_has_vectors(one);
        if model is not null and model <> one.model then
            raise exception using
                message = format('The pipeline "%s" has the model %s, not %s.', one.name, one.model, model),
                hint = 'Name the pipeline or the model, not both.', errcode = 'invalid_parameter_value';
        end if;
        wanted_model := one.model;
        wanted_fingerprint := one.fingerprint;
        return;
    end if;
    -- While a model is being changed the next one is there, too, and afterwards the previous one: not what is searched.
    select coalesce(_model_asked.model, min(p.model)), max(p.model), min(p.fingerprint), max(p.fingerprint)
    into wanted_model, other_model, wanted_fingerprint, other_fingerprint
    from pipeline p where case when _model_asked.model is null then p.shadow_of is null and p.task = 'embed'
                               else p.model = _model_asked.model end;
    if wanted_model is null then
        raise exception using message = 'There is no pipeline, so nothing says which model is meant.',
            hint = 'Name one with model => ''gte-small'', or make a pipeline with pgembedd.create_pipeline().',
            errcode = 'undefined_object';
    elsif other_model <> wanted_model then
        raise exception using
            message = format('The pipelines have several models, such as %s and %s.', wanted_model, other_model),
            hint = 'Name the one that you search, with pipeline => ''...''.', errcode = 'invalid_parameter_value';
    elsif other_fingerprint <> wanted_fingerprint then
        raise exception using
            message = format('Pipelines hold vectors of several states of %s, such as %s and %s.', wanted_model,
                wanted_fingerprint, other_fingerprint),
            hint = 'Name the one that you search, with pipeline => ''...''.', errcode = 'invalid_parameter_value';
    end if;
end $$;

-- A search without an index calls embed() for every row, so the last vector of a transaction is kept in a setting of
-- it. Every role may write settings; the seal, whose secret only the owner knows, proves that the vector is ours.
create or replace function pgembedd_internal._seal(key text, vector_text text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select encode(sha256(convert_to(l.secret || key || vector_text || l.secret, getdatabaseencoding())), 'hex')
    from loopback l
$$;
