-- Models by name: `openai:text-embedding-3-small` is a provider's, and what has no colon is computed by the worker.

-- The dimensions of a model's vectors; null where that is not known here.
create or replace function pgembedd._model_dimensions(model text) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when strpos(model, ':') = 0 then 384
        when model = 'openai:text-embedding-3-large' then 3072
        when model like 'openai:text-embedding-%' or model = 'cohere:embed-v4.0' then 1536
        when model ~ '^ollama:nomic-embed-text(:|$)' then 768
        when model ~ '^ollama:all-minilm(:|$)'
          or model in ('huggingface:sentence-transformers/all-MiniLM-L6-v2', 'huggingface:thenlper/gte-small') then 384
        when model ~ '^ollama:(mxbai-embed-large|bge-m3)(:|$)'
          or model ~ E'^cohere:embed-(english|multilingual)-v3\\.0$'
          or model ~ E'^voyage:voyage-(3|3-large|3\\.5|3\\.5-lite)$' then 1024
    end
$$;

-- The dimensions that the model's vectors are known to have where they cannot have these: null where they can, as an
-- operator may have a provider shorten them, and where it is not known here.
create or replace function pgembedd._fixed_dimensions(model text, dimensions integer) returns integer
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when _own_model(model) is not null or strpos(model, ':') > 0 and _model_dimensions(model) < dimensions
                then _model_dimensions(model) end
$$;

-- What a model of pgembedd's own does, whatever the capitals of its name: `embeds` or `reranks`; null for any other.
create or replace function pgembedd._own_model(model text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when lower(model) in ('gte-small', 'thenlper/gte-small', 'supabase/gte-small', 'all-minilm-l6-v2',
                              'sentence-transformers/all-minilm-l6-v2', 'e5-small-v2-int8') then 'embeds'
        when lower(model) = 'ms-marco-minilm-l12' then 'reranks'
    end
$$;

-- The provider's model that a name without a provider means; null for any other.
create or replace function pgembedd._model_meant(model text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when model ~ '^text-embedding-(3-small|3-large|ada-002)$' then 'openai:' || model
        when model ~ E'^embed-(v4\\.0|(english|multilingual)-(light-)?v3\\.0)$' then 'cohere:' || model
        when model ~ E'^voyage-(3|3-large|3\\.5|3\\.5-lite|code-3|law-2|finance-2)$' then 'voyage:' || model
    end
$$;

create or replace function pgembedd._check_model(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if coalesce(made.model, '') = '' then
        raise exception using message = 'The pipeline needs a model.',
            hint = 'Leave it out for gte-small, or see `pgembedd model list`.', errcode = '22023';
    elsif _model_meant(made.model) is not null then
        raise exception using message = format('%s is a model of a provider''s.', made.model),
            hint = format('Say whose: model => %L. Its texts leave this machine, so an operator enables the provider.',
                _model_meant(made.model)), errcode = '22023';
    elsif _own_model(made.model) = 'reranks' then
        raise exception using message = format('%s reranks texts and has no vectors.', made.model),
            hint = 'Take gte-small, all-MiniLM-L6-v2 or e5-small-v2-int8.', errcode = '22023';
    elsif made.dimensions is null then
        raise exception using message = format('The dimensions of the model %s are not known here.', made.model),
            hint = 'Say how many its vectors have, as in dimensions => 1536.', errcode = '22023';
    elsif made.dimensions not between 1 and (case made.vector_type when 'halfvec' then 4000 else 2000 end) then
        raise exception using
            message = format('%s dimensions cannot be indexed as %s.', made.dimensions, made.vector_type),
            hint = 'HNSW takes up to 4000 for halfvec and 2000 for vector.', errcode = '22023';
    end if;
    perform _note_model(made);
end $$;

-- Says what keeps workers from serving the pipeline, as long as they have no files of that model.
create or replace function pgembedd._note_model(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if _own_model(made.model) = 'embeds' and made.dimensions <> _model_dimensions(made.model) then
        raise notice '% has % dimensions, so no worker will serve a pipeline of %.', made.model,
            _model_dimensions(made.model), made.dimensions
            using hint = 'Drop it, and create it again without dimensions.';
    elsif _own_model(made.model) is null and strpos(made.model, ':') = 0 then
        raise notice 'pgembedd has no model %: a worker serves it only from files of yours, with --model-dir.',
            made.model
            using hint = 'Its own are gte-small, all-MiniLM-L6-v2 and e5-small-v2-int8; a provider''s has the provider '
                         'in front, as in openai:text-embedding-3-small.';
    end if;
end $$;
