create or replace function pgembedd_internal._check_options(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    unknown record;
begin
    select o.option, o.value, o.hint into unknown
    from (values ('vector_type', made.vector_type, '{halfvec,vector}'::text[], 'Take halfvec or vector.'),
                 ('distance', made.distance, '{cosine,l2,ip}', 'Take cosine, l2 or ip.'),
                 ('index_type', made.index_type, '{hnsw,none}', 'Take hnsw, or none for no index.'),
                 ('on_update', made.on_update, '{keep,clear}',
                  'keep leaves the old vector in place until the new one is there; clear empties it at once.'))
        as o(option, value, choices, hint)
    where coalesce(o.value, '') <> all (o.choices) limit 1;
    if num_nonnulls(made.content_columns, made.content_function) <> 1 or made.content_columns = '{}' then
        raise exception using
            message = case made.task when 'embed' then 'Say what is to be embedded: content_columns or '
                'content_function, one of the two.' else 'Say which column holds the files: content_columns.' end,
            hint = case made.task when 'embed' then 'For example content_columns => array[''title'', ''content''].'
                        else 'For example content_columns => ''{file}''; or uri_column, of the URIs of files.' end,
            errcode = 'invalid_parameter_value';
    elsif unknown.option is not null then
        raise exception using
            message = _cut(format('%s %s is not known.', unknown.option,
                                  coalesce(quote_literal(unknown.value), 'NULL'))),
            hint = unknown.hint, errcode = 'invalid_parameter_value';
    elsif not made.triggers and (made.on_update = 'clear' or made.enable_always) then
        raise exception using message = format('%s is done by triggers, and this pipeline is to have none.',
                case when made.enable_always then 'enable_always' else 'on_update => ''clear''' end),
            hint = 'Say triggers => true, or leave this option out.', errcode = 'invalid_parameter_value';
    elsif (made.enable_always or made.on_update = 'clear' and made.embedding_table_name is null)
          and _is_hypertable(made.source) then
        raise exception using message = format('%s cannot be had on the hypertable %s.',
                case when made.enable_always then 'enable_always' else 'on_update => ''clear''' end, made.source),
            hint = 'It needs a trigger for each row, which TimescaleDB gives to every new chunk as the owner of the '
                   'table, who may not use our code. Leave this option out.', errcode = 'feature_not_supported';
    elsif made.max_attempts is null or made.max_attempts not between 1 and 100 then
        raise exception using
            message = format('max_attempts %s is out of range.', coalesce(made.max_attempts::text, 'NULL')),
            hint = 'Take 1 to 100.', errcode = 'invalid_parameter_value';
    elsif (made.retry_delay >= '0' and made.retry_delay <= made.retry_max_delay and made.retry_max_delay <= '30 days'
           and made.retry_factor between 1 and 100) is not true then
        raise exception using
            message = format('retry_delay %s, retry_factor %s and retry_max_delay %s are out of range.',
            coalesce(made.retry_delay::text, 'NULL'), coalesce(made.retry_factor::text, 'NULL'),
            coalesce(made.retry_max_delay::text, 'NULL')),
            hint = 'Take a retry_delay of 0 or more, a retry_factor of 1 to 100, and a retry_max_delay that is no less '
                   'than the retry_delay and at most 30 days.', errcode = 'invalid_parameter_value';
    end if;
end $$;

create or replace function pgembedd_internal._check_column_options(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if made.embedding_column = '' then
        raise exception using message = 'The pipeline needs an embedding_column.',
            hint = 'It is created when missing.', errcode = 'invalid_parameter_value';
    elsif octet_length(made.embedding_column) > 63 then
        raise exception using
            message = format('The embedding_column "%s" is longer than a name can be.', made.embedding_column),
            hint = 'Take at most 63 bytes.', errcode = 'name_too_long';
    elsif exists (select from pg_attribute a
                  where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum < 0) then
        raise exception using message = format('"%s" is a system column of every table.', made.embedding_column),
            hint = 'Name another embedding_column.', errcode = 'duplicate_column';
    elsif made.m not between 2 and 100 or made.ef_construction not between greatest(4, 2 * made.m) and 1000 then
        raise exception using message = format('m = %s and ef_construction = %s do not make an HNSW index.',
                made.m, made.ef_construction),
            hint = 'm goes from 2 to 100, ef_construction from twice m to 1000.', errcode = 'invalid_parameter_value';
    elsif made.embedding_column = any (made.content_columns || made.asked_watch_columns || made.key_columns) then
        raise exception using message = format('The column "%s" cannot be content or key and hold the vector, too.',
            made.embedding_column),
            hint = 'Leave it out of the content and of what is watched, or give the vectors a column of their own.',
            errcode = 'invalid_parameter_value';
    end if;
end $$;

-- The pipeline with the options of its index; one that is not given stays. With none, _graph() decides at the build.
create or replace function pgembedd_internal._with_index_options(
    made pgembedd_internal.pipeline, index_options jsonb
) returns pgembedd_internal.pipeline
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    index_options := coalesce(index_options, '{}');
    if exists (select from jsonb_each(case jsonb_typeof(index_options) when 'object' then index_options
                                           else '{"": null}' end) o
               where o.key not in ('m', 'ef_construction') or o.value::text !~ '^-?[0-9]{1,9}$') then
        raise exception using
            message = _cut(format('index_options takes m and ef_construction, each an integer, not %s.',
                                  index_options)),
            hint = 'For example index_options => ''{"m": 32, "ef_construction": 128}''.',
            errcode = 'invalid_parameter_value';
    end if;
    made.m := coalesce((index_options ->> 'm')::integer, made.m);
    made.ef_construction := coalesce((index_options ->> 'ef_construction')::integer, made.ef_construction);
    if num_nulls(made.m, made.ef_construction) = 1 then  -- beside the one that was asked for, pgvector's default
        made.m := coalesce(made.m, 16);
        made.ef_construction := coalesce(made.ef_construction, 64);
    end if;
    return made;
end $$;

-- Refuses a way to create the pipeline that is not known.
create or replace function pgembedd_internal._check_steps(
    index_when text, index_within interval, existing_vectors text
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if coalesce(index_when, '') not in ('auto', 'now', 'later') then
        raise exception using
            message = _cut(format('index_when %s is not known.', coalesce(quote_literal(index_when), 'NULL'))),
            hint = 'now makes the index at once, later after the backfill, auto decides by the size of the table.',
            errcode = 'invalid_parameter_value';
    elsif index_within is null or index_within < interval '0' then
        raise exception using message = format('index_within %s is no time to build an index in.',
            coalesce(quote_literal(index_within), 'NULL')),
            hint = 'It is how long the backfill may put the index off; one day unless given.',
            errcode = 'invalid_parameter_value';
    elsif existing_vectors not in ('refuse', 'keep', 'clear') then
        raise exception using
            message = _cut(format('existing_vectors %s is not known.', quote_literal(existing_vectors))),
            hint = 'keep leaves vectors that are there and embeds the other rows, clear deletes them all and has every '
                   'row embedded again, refuse creates no pipeline over them.', errcode = 'invalid_parameter_value';
    end if;
end $$;
