-- Models by name: `openai:text-embedding-3-small` is a provider's, and what has no colon is computed by the worker.

-- The built-in model of that name, whatever its capitals, or the one whose vectors a provider has under it; else null.
-- Hugging Face has repositories, which are names of ours, too; Ollama has names of its own, with tags.
create or replace function pgembedd_internal._known_model(
    model text, out name text, out dimensions integer, out min_similarity double precision)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select m.name, m.dimensions, m.min_similarity from model m
    where lower(regexp_replace($1, '^huggingface:|(?<=^ollama:[^:]*):.*', '')) = any (m.names)
$$;

-- The dimensions of a model's vectors; null where that is not known here. Of a worker's own files 384 are expected.
create or replace function pgembedd_internal._model_dimensions(model text) returns integer
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce((_known_model(model)).dimensions, case
        when strpos(model, ':') = 0 then 384
        when model = 'openai:text-embedding-3-large' then 3072
        when model like 'openai:text-embedding-%' or model = 'cohere:embed-v4.0' then 1536
        when model ~ '^ollama:nomic-embed-text(:|$)' then 768
        when model ~ '^ollama:(mxbai-embed-large|bge-m3)(:|$)'
          or model ~ E'^cohere:embed-(english|multilingual)-v3\\.0$'
          or model ~ E'^voyage:voyage-(3|3-large|3\\.5|3\\.5-lite)$' then 1024
    end)
$$;

-- The provider's model that a name without a provider means; null for any other.
create or replace function pgembedd_internal._model_meant(model text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when model ~ '^text-embedding-(3-small|3-large|ada-002)$' then 'openai:' || model
        when model ~ E'^embed-(v4\\.0|(english|multilingual)-(light-)?v3\\.0)$' then 'cohere:' || model
        when model ~ E'^voyage-(3|3-large|3\\.5|3\\.5-lite|code-3|law-2|finance-2)$' then 'voyage:' || model
    end
$$;

create or replace function pgembedd_internal._check_model(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    known record;
begin
    select k.* into known from _known_model(made.model) k;
    if coalesce(made.model, '') = '' then
        raise exception using message = 'The pipeline needs a model.',
            hint = format('Take one of %s; see `pgembedd model list`.', _model_names()),
            errcode = 'invalid_parameter_value';
    elsif _model_meant(made.model) is not null then
        raise exception using message = format('%s is a model of a provider''s.', made.model),
            hint = format('Say whose: model => %L. Its texts leave this machine, so an operator enables the provider.',
                _model_meant(made.model)), errcode = 'invalid_parameter_value';
    elsif known.name is not null and known.dimensions is null then
        raise exception using message = format('%s reranks texts and has no vectors.', made.model),
            hint = format('Take one of %s.', _model_names()), errcode = 'wrong_object_type';
    elsif made.dimensions is null then
        raise exception using message = format('The dimensions of the model %s are not known here.', made.model),
            hint = 'Say how many its vectors have, as in dimensions => 1536.', errcode = 'invalid_parameter_value';
    elsif made.dimensions not between 1 and (case made.vector_type when 'halfvec' then 4000 else 2000 end) then
        raise exception using
            message = format('%s dimensions cannot be indexed as %s.', made.dimensions, made.vector_type),
            hint = 'HNSW takes up to 4000 for halfvec and 2000 for vector.', errcode = 'invalid_parameter_value';
    end if;
end $$;

-- Tells of what keeps workers from serving a new pipeline, as long as they have no files of its model.
create or replace function pgembedd_internal._tell_of_model(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    known record;
begin
    select k.* into known from _known_model(made.model) k;
    if strpos(made.model, ':') = 0 and known.name is null then
        raise notice 'pgembedd has no model %: a worker serves it only from files of yours, with --model-dir.',
            made.model
            using hint = format('Its own are %s; a provider''s has the provider in front, as in '
                                'openai:text-embedding-3-small.', _model_names());
    elsif strpos(made.model, ':') = 0 and made.dimensions <> known.dimensions then
        raise notice '% has % dimensions, so no worker will serve a pipeline of %.', made.model, known.dimensions,
            made.dimensions
            using hint = 'Drop it, and create it again without dimensions.';
    end if;
end $$;

create or replace function pgembedd_internal._model_names() returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select string_agg(m.name, ', ' order by m.name) from model m where m.dimensions is not null $$;
