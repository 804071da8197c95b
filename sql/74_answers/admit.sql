-- What a policy asks of each source that is written for an answer, as who writes it may give any key and any hash: it
-- reads the row itself, and all of the texts that the hash is of. As the caller, in the snapshot of the statement that
-- found it. Whatever it is that fails, it is the same refusal.
create or replace function pgembedd_internal._is_readable_source(
    pipeline text, key jsonb, texts_hash bigint
) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return exists (select from _readable_rows(pipeline, array[key]) r
                   where r.key = $2 and r.hash is not distinct from texts_hash);
exception when others or assert_failure then return false;
end $$;

-- The language models that a question may name: that of the pipeline, and those that its owner allows besides.
create or replace function pgembedd_internal._check_language_model(pipeline text, model text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    allowed text[] := array(select distinct m from answer_settings s, unnest(s.language_models || s.language_model) as m
                            where s.pipeline = $1 and m is not null order by m);
begin
    if model is null or model = any (allowed) then return; end if;
    raise exception using
        message = case when allowed = '{}' then format('A question about "%s" names no language model.', pipeline)
                         else format('A question about "%s" may name the language model %s, not %s.', pipeline,
                                     array_to_string(allowed, ' or '), model) end,
        hint = 'Leave it out; the owner of pgembedd allows others with configure_answers(language_models => ...).',
        errcode = 'invalid_parameter_value';
end $$;
