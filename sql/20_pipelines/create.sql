-- create_pipeline() runs with the caller's rights: the role that installed pgembedd, or a member of it.

-- Not pinned to a search_path: `source` and `content_function` are looked up under the caller's.
create or replace function pgembedd.create_pipeline(
    name text,
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
    create_index boolean default true,
    m integer default 16,
    ef_construction integer default 64,
    index_when text default 'auto',
    index_within interval default '1 day',
    embedding_table text default null,
    chunk_tokens integer default null,
    chunk_overlap integer default null,
    splitter text default 'text',
    formatting text default null,
    adopt boolean default null,
    enable_always boolean default false,
    triggers boolean default true,
    text_config text default pg_catalog.current_setting('default_text_search_config')
) returns bigint
language plpgsql
as $$
declare
    made pgembedd.pipeline;
begin
    perform pgembedd._check_texts(
        '{name,source,content_function,embedding_column,model,embedding_table,formatting,text_config}',
        array[name, source, content_function, embedding_column, model, embedding_table, formatting, text_config]),
        pgembedd._check_members('content_columns', content_columns),
        pgembedd._check_members('watch_columns', watch_columns);
    made.name := name;
    begin
        made.source := pg_catalog.to_regclass(source);
    exception when syntax_error or invalid_name or feature_not_supported then null;  -- 'a.b.c.d' is no table's name
    end;
    made.source_name := source;
    if content_function is not null and made.source is not null then
        made.content_function := pgembedd._content_function(
            pg_catalog.to_regprocedure(pg_catalog.format('%s(%s)', content_function, made.source)),
            content_function, source);
    end if;
    made.content_columns := content_columns;
    made.watch_columns := watch_columns;
    made.embedding_column := case when embedding_table is null then coalesce(embedding_column, 'embedding')
                                  else embedding_column end;
    made.embedding_table_name := embedding_table;
    made.chunk_tokens := chunk_tokens; made.chunk_overlap := chunk_overlap;
    made.splitter := splitter; made.formatting := formatting;
    made.enable_always := coalesce(enable_always, false);
    made.triggers := coalesce(triggers, true);
    made.text_config := pgembedd._text_config(text_config);
    made.model := model;
    made.dimensions := coalesce(dimensions, pgembedd._model_dimensions(model));
    made.vector_type := vector_type;
    made.distance := distance;
    made.on_update := on_update;
    made.max_attempts := max_attempts;
    made.m := m; made.ef_construction := ef_construction;
    made.search_path := pg_catalog.current_setting('search_path');
    return pgembedd._create_pipeline(
        made, backfill, case when create_index then coalesce(index_when, 'NULL') end, index_within, adopt);
end $$;
comment on function pgembedd.create_pipeline is
    'Register a table: its rows get vectors from now on. Returns how many existing rows were queued.';

-- index_when is null where no index is wanted.
create or replace function pgembedd._create_pipeline(
    made pgembedd.pipeline, backfill boolean, index_when text, index_within interval, adopt boolean default null
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'  -- writers stand in line behind us
as $$
declare
    queued bigint;
begin
    made := _checked(made);
    perform _check_owner(made);
    if made.embedding_table_name is null then
        perform _ensure_column(made), _adopt_column(made, adopt);
    else
        made.embedding_table := coalesce(_adopt_table(made, adopt), _ensure_table(made));
        made.embedding_table_name := made.embedding_table::text;
    end if;
    made.words_table := _ensure_words(made, index_when is not null);
    if index_when is not null then
        perform _check_when(index_when, index_within);
        made := _ensure_indexes(made, index_when, index_within);
    end if;
    made := _insert_pipeline(made);
    perform _regenerate(made);
    perform _propose_chunks(made);
    queued := case when not backfill then 0
                   when adopt and made.embedding_table is not null then _enqueue_all(made)
                   else _backfill(made, false) end;
    perform _notify_created(made, queued);
    return queued;
end $$;

-- The pipeline with what follows from its options, or a refusal.
create or replace function pgembedd._checked(made pgembedd.pipeline) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _check_source(made);
    made.source_name := made.source::text;
    made.key_columns := array(select k.name from _key_columns(made.source) k);
    perform _check_options(made);
    perform _check_columns(made, made.content_columns, 'content_columns');
    perform _check_columns(made, made.watch_columns, 'watch_columns');
    made := _with_text_config(made);
    made.watch_columns := _written_columns(made.source, coalesce(
        made.watch_columns,
        case when made.content_function is null
             then made.content_columns || _formatting_columns(made.formatting) || made.text_config_column end,
        _watchable_columns(made.source)));
    perform _check_table_options(made);
    return made;
end $$;

-- What is null has its default.
create or replace function pgembedd._insert_pipeline(made pgembedd.pipeline) returns pgembedd.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
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
