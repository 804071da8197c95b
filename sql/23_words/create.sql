-- The words of a pipeline: a table of ours next to the source with a tsvector for each row, or for each chunk. It
-- belongs to the owner of the source. Vectors and words are apart, so that a scan of one does not read the other, and
-- because a chunk that gets its words later would be put into the HNSW index twice.

create or replace function pgembedd_internal._ensure_words(made pgembedd_internal.pipeline) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named text;
begin
    if made.text_config is null then return null; end if;
    named := format('%I.%I', _schema_of(made.source), _free_name(made.source,
        (select _truncate_name(c.relname, 50) from pg_class c where c.oid = made.source) || '_words'));
    execute format('create table %s (%s, %s pgembedd_words tsvector not null, primary key (%s))', named,
        _key_definitions(made.source),
        case when made.embedding_table is not null then 'chunk_index integer not null,' end,
        _column_list(case when made.embedding_table is null then made.key_columns else _table_key(made) end));
    execute format('comment on table %s is %L', named,
        format('Words of %s for searches, kept in step by the pipeline "%s".', made.source, made.name));
    if made.index_type <> 'none' then
        execute format('create index on %s using gin (pgembedd_words)', named);
    end if;
    perform _give_to_owner(named::regclass, made.source);
    return named::regclass;
end $$;

create or replace function pgembedd_internal._drop_words(gone pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if _exists(gone.words_table) then
        perform _drop_words_view(gone.words_table);
        execute format('drop table %s', gone.words_table);
    end if;
end $$;

-- Whether the table still has the column with the words.
create or replace function pgembedd_internal._has_words(words regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_attribute a where a.attrelid = words and a.attname = 'pgembedd_words'
                   and a.atttypid = 'tsvector'::regtype)
$$;

-- The GIN index of the words, as far as there is one.
create or replace function pgembedd_internal._words_indexes(made pgembedd_internal.pipeline)
returns table (index regclass, valid boolean)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select i.indexrelid::regclass, i.indisvalid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = made.words_table and a.attname = 'pgembedd_words' and m.amname = 'gin' and i.indpred is null
$$;

-- Whether it is gone, where the pipeline has indexes.
create or replace function pgembedd_internal._lacks_words_index(made pgembedd_internal.pipeline) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select made.index_type <> 'none' and _has_words(made.words_table)
       and not exists (select from _words_indexes(made) w where w.valid)
$$;

-- Brings the table in step with a source that was altered, and makes it again where it or its words were dropped or the
-- key has another type; the sweep fills it.
create or replace function pgembedd_internal._follow_words(
    pipeline pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pipeline.text_config is null then return pipeline; end if;
    -- A column that was given another type would run the owner's casts and checks, with the rights of the caller.
    if not _has_words(pipeline.words_table) or exists (
        select from _key_columns(pipeline.source) k
        join pg_attribute s on s.attrelid = pipeline.source and s.attname = k.name
        join pg_attribute w on w.attrelid = pipeline.words_table and w.attname = k.name
        where (s.atttypid, s.atttypmod) is distinct from (w.atttypid, w.atttypmod))
    then
        begin
            perform _drop_words(pipeline);
        exception when dependent_objects_still_exist then  -- a view of the owner's: it keeps the old table
            pipeline.words_table := null;
        end;
    end if;
    if not coalesce(_exists(pipeline.words_table), false) then
        pipeline.words_table := _ensure_words(pipeline);
        update pipeline p set words_table = _follow_words.pipeline.words_table where p.id = _follow_words.pipeline.id;
    end if;
    if _owner(pipeline.words_table) <> _owner(pipeline.source) then
        perform _drop_words_view(pipeline.words_table), _give_to_owner(pipeline.words_table, pipeline.source);
    end if;
    insert into word_statistics (pipeline_id) values (pipeline.id)
    on conflict (pipeline_id) do update set filled = false;
    return pipeline;
end $$;
