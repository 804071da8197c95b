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
          or model ~ '^cohere:embed-(english|multilingual)-v3\.0$'
          or model ~ '^voyage:voyage-(3|3-large|3\.5|3\.5-lite)$' then 1024
    end
$$;

-- The provider's model that a name without a provider means; null for any other.
create or replace function pgembedd._model_meant(model text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when model ~ '^text-embedding-(3-small|3-large|ada-002)$' then 'openai:' || model
        when model ~ '^embed-(v4\.0|(english|multilingual)-(light-)?v3\.0)$' then 'cohere:' || model
        when model ~ '^voyage-(3|3-large|3\.5|3\.5-lite|code-3|law-2|finance-2)$' then 'voyage:' || model
    end
$$;

create or replace function pgembedd._check_model(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if coalesce(made.model, '') = '' then
        perform _refuse('The pipeline needs a model.', 'Leave it out for gte-small, or see `pgembedd model list`.');
    elsif _model_meant(made.model) is not null then
        perform _refuse(format('%s is a model of a provider''s.', made.model),
            format('Say whose: model => %L. Its texts leave this machine, so an operator enables the provider.',
                _model_meant(made.model)));
    elsif made.dimensions is null then
        perform _refuse(format('The dimensions of the model %s are not known here.', made.model),
            'Say how many its vectors have, as in dimensions => 1536.');
    elsif made.dimensions not between 1 and (case made.vector_type when 'halfvec' then 4000 else 2000 end) then
        perform _refuse(format('%s dimensions cannot be indexed as %s.', made.dimensions, made.vector_type),
            'HNSW takes up to 4000 for halfvec and 2000 for vector.');
    end if;
end $$;
