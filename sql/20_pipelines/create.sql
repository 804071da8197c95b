-- create_pipeline() runs with the caller's rights: the role that installed pgembedd, or a member of it.

-- Not pinned to a search_path: `source` and `content_function` are looked up under the caller's. In SQL, so that it is
-- inlined: Postgres prints the types of all arguments of a PL/pgSQL function below an error.
create or replace function pgembedd.create_pipeline(
    pipeline text,
    source text,
    content_columns text[] default null,
    content_function text default null,
    embedding_column text default null,
    model text default 'gte-small',
    dimensions integer default null,
    vector_type text default 'halfvec',
    distance text default 'cosine',
    watch_columns text[] default null,
    on_update text default 'keep',
    backfill boolean default true,
    max_attempts integer default 5,
    index_type text default 'hnsw',
    index_options jsonb default '{}',
    index_when text default 'auto',
    index_within interval default '1 day',
    embedding_table text default null,
    chunk_tokens integer default null,
    chunk_overlap_tokens integer default null,
    splitter text default 'text',
    formatting text default null,
    existing_vectors text default 'refuse',
    enable_always boolean default false,
    triggers boolean default true,
    text_config text default pg_catalog.current_setting('default_text_search_config'),
    retry_delay interval default '2 s',
    retry_factor double precision default 2,
    retry_max_delay interval default '10 min',
    if_not_exists boolean default false,
    task text default 'embed',
    into_table text default null,
    uri_column text default null,
    uri_prefixes text[] default null,
    recheck_interval interval default null,
    objects_uri text default null
) returns bigint
language sql
as $$
    select pgembedd_internal._create_pipeline(
        pgembedd_internal._checked(pgembedd_internal._asked_pipeline(pg_catalog.jsonb_build_object(
            'name', pipeline, 'source_name', source, 'content_columns', content_columns,
            'content_function', content_function, 'embedding_column', embedding_column, 'model', model,
            'dimensions', dimensions, 'vector_type', vector_type, 'distance', distance,
            'asked_watch_columns', watch_columns, 'on_update', on_update, 'max_attempts', max_attempts,
            'index_type', index_type, 'embedding_table_name', embedding_table, 'chunk_tokens', chunk_tokens,
            'chunk_overlap_tokens', chunk_overlap_tokens, 'splitter', splitter, 'formatting', formatting,
            'enable_always', coalesce(enable_always, false), 'triggers', coalesce(triggers, true),
            'text_config', text_config, 'retry_delay', retry_delay,
            'retry_factor', retry_factor, 'retry_max_delay', retry_max_delay, 'task', task, 'into_table', into_table,
            'uri_column', uri_column, 'uri_prefixes', uri_prefixes, 'recheck_interval', recheck_interval,
            'objects_uri', objects_uri,
            'index_options', index_options, 'index_when', index_when, 'index_within', index_within), index_options)),
        backfill, index_when, index_within, existing_vectors, if_not_exists)
$$;
comment on function pgembedd.create_pipeline is
    'Register a table: its rows get vectors from now on, or the text of their files goes into another table. Returns '
    'how many existing rows were queued.';

-- The pipeline as its options say, with the table, the function and the configuration that they name; what they do not
-- say is that of the present one.
create or replace function pgembedd_internal._asked_pipeline(
    asked jsonb, index_options jsonb default null, present pgembedd_internal.pipeline default null
) returns pgembedd_internal.pipeline
language plpgsql
as $$
declare
    made pgembedd_internal.pipeline := pg_catalog.jsonb_populate_record(
        present, pgembedd_internal._with_uri_column(asked, present));
    ignored pg_catalog.text := pgembedd_internal._check_texts(
        '{pipeline,source,content_function,embedding_column,model,embedding_table,formatting,text_config,into_table,'
        'uri_column,objects_uri}',
        array[made.name, made.source_name, made.content_function, made.embedding_column, made.model,
              made.embedding_table_name, made.formatting, made.text_config, asked ->> 'into_table',
              asked ->> 'uri_column', made.objects_uri]);
    function pg_catalog.regprocedure;
begin
    ignored := pgembedd_internal._check_members('content_columns', made.content_columns);
    ignored := pgembedd_internal._check_members('watch_columns', made.asked_watch_columns);
    ignored := pgembedd_internal._check_members('uri_prefixes', made.uri_prefixes);
    made := pgembedd_internal._with_index_options(made, index_options);
    made := pgembedd_internal._with_task(made, asked);
    begin
        made.source := pg_catalog.to_regclass(made.source_name);
        function := pg_catalog.to_regprocedure(pg_catalog.format('%s(%s)', made.content_function, made.source));
    exception when syntax_error or invalid_name or invalid_text_representation or feature_not_supported then
        null;  -- 'a.b.c.d' is no table's name
    end;
    if made.content_function is not null and made.source is not null then
        made.content_function := pgembedd_internal._content_function(function, made);
    end if;
    if made.embedding_table_name is null then
        made.embedding_column := coalesce(made.embedding_column, 'embedding');
    end if;
    made.text_config := pgembedd_internal._text_config(made.text_config);
    made.dimensions := coalesce(made.dimensions, pgembedd_internal._model_dimensions(made.model));
    made.search_path := coalesce(made.search_path, pg_catalog.current_setting('search_path'));
    return made;
end $$;

-- Of what _checked() returned.
create or replace function pgembedd_internal._create_pipeline(
    made pgembedd_internal.pipeline, backfill boolean, index_when text, index_within interval, existing_vectors text,
    if_not_exists boolean
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'  -- writers stand in line behind us
as $$
declare
    queued bigint;
    ignored text := _check_steps(index_when, index_within, existing_vectors);
begin
    existing_vectors := coalesce(existing_vectors, 'refuse');
    if _is_there(made) then
        ignored := _check_same(made, if_not_exists);
        raise notice 'There is a pipeline "%" already, with this definition.', made.name;
        return 0;
    end if;
    ignored := _check_free_name(made);
    if made.embedding_table_name is null then
        ignored := _ensure_column(made);
        ignored := _take_column(made, existing_vectors);
    else
        made.embedding_table := coalesce(_take_table(made, existing_vectors), _ensure_table(made));
        made.embedding_table_name := made.embedding_table::text;
    end if;
    ignored := _check_text_config_values(made);
    made.words_table := _ensure_words(made);
    if made.index_type <> 'none' then
        made := _ensure_indexes(made, index_when, index_within);
    end if;
    made := _insert_pipeline(made);
    perform _regenerate(made), _rename_in_comments(made);
    perform _generate(p) from pipeline p where p.source = made.embedding_table;  -- their jobs tell of ours
    perform _tell_of_model(made), _propose_chunks(made);
    queued := case when backfill is false or not _may_have_rows(made.source) then 0
                   -- Nothing kept the chunks in step meanwhile; what is right already is not embedded again.
                   when existing_vectors = 'keep' and made.embedding_table is not null then _backfill(made, 'all')
                   else _backfill(made, 'lacking') end;
    perform _notify_created(made, queued);
    return queued;
exception when lock_not_available then
    ignored := _refuse_locked(made, 'created');
end $$;

-- The pipeline with what follows from its options, or a refusal.
create or replace function pgembedd_internal._checked(
    made pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _check_source(made);
begin
    made.source_name := made.source::text;
    made.key_columns := array(select k.name from _key_columns(made.source) k);
    ignored := _check_options(made);
    if made.task = 'embed' then
        ignored := _check_model(made);
        ignored := _check_column_options(made);
    end if;
    ignored := _check_columns(made, made.content_columns, 'content_columns');
    ignored := _check_columns(made, made.asked_watch_columns, 'watch_columns');
    ignored := _check_file_column(made);
    made := _with_objects(_with_text_config(made));
    made.watch_columns := coalesce(made.watch_columns, case when made.asked_watch_columns is null
        then _derived_watch_columns(made) else _written_columns(made.source, made.asked_watch_columns) end);
    ignored := _check_chunk_options(made);
    ignored := _check_table_options(made);
    ignored := _check_columns(made, _formatting_columns(made), 'formatting');
    ignored := _check_owner(made);
    return made;
end $$;

-- What is null has its default.
create or replace function pgembedd_internal._insert_pipeline(
    made pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    columns text;
begin
    made.content_shape := _content_shape(made);
    select string_agg(quote_ident(c.key), ', ') into columns from jsonb_each(jsonb_strip_nulls(to_jsonb(made))) c;
    execute format('insert into pipeline (%1$s) select %1$s from (select ($1).*) as m returning *', columns)
    into made using made;
    return made;
end $$;
