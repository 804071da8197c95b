-- What a pipeline makes: `embed` makes vectors of texts, `parse` makes pages of text of files, which go into a table.
-- This table stands in the column embedding_table, as both kinds are made, emptied, renamed and granted alike.

-- The options that concern vectors alone.
create or replace function pgembedd_internal._vector_options() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select '{embedding_column,embedding_table,model,dimensions,vector_type,distance,index_type,index_options,index_when,
             index_within,chunk_tokens,chunk_overlap_tokens,splitter,formatting,text_config}'::text[]
$$;

-- The pipeline with what its task says: one that parses has no model, no words and no index.
create or replace function pgembedd_internal._with_task(
    made pgembedd_internal.pipeline, asked jsonb
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    given text := (
        select o from unnest('{into_table,uri_column,uri_prefixes,recheck_interval,objects_uri}'::text[]) as o
        where asked ->> o is not null limit 1);
    ignored text;
begin
    if coalesce(made.task, '') not in ('embed', 'parse') then
        raise exception using
            message = _cut(format('task %s is not known.', coalesce(quote_literal(made.task), 'NULL'))),
            hint = 'embed makes vectors of texts, parse makes pages of text of files.',
            errcode = 'invalid_parameter_value';
    elsif made.task = 'embed' and given is not null then
        raise exception using message = format('%s is for files, and the task is embed.', given),
            hint = 'Say task => ''parse'' for files; vectors go into embedding_column or embedding_table.',
            errcode = 'invalid_parameter_value';
    elsif made.task = 'embed' then
        return made;
    end if;
    select string_agg(o.name, ', ' order by o.nth) into given
    from (select v.name, v.nth, case v.name when 'embedding_table' then 'embedding_table_name' else v.name end as field
          from unnest(_vector_options()) with ordinality as v(name, nth)) o
    where asked ? o.field and asked -> o.field <> _default_of_option(o.name);
    if given is not null then
        raise exception using
            message = format('The task parse makes no vectors, which these options are for: %s.', given),
            hint = 'Leave them out here, and give them to a pipeline on the table of the pages.',
            errcode = 'invalid_parameter_value';
    end if;
    made.embedding_table_name := coalesce(asked ->> 'into_table', made.embedding_table_name);
    if made.embedding_table_name is null then
        raise exception using message = 'The task parse needs into_table: the table that its pages go into.',
            hint = 'It is created when missing.', errcode = 'invalid_parameter_value';
    end if;
    ignored := _check_uri_options(made, asked);
    made.model := null; made.dimensions := null; made.text_config := null; made.index_type := 'none';
    return made;
end $$;

-- Refuses a content that is no file, where files are to be parsed. No pipeline that parses stands on another one's
-- table, and so none writes to its own source, by way of others.
create or replace function pgembedd_internal._check_file_column(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if made.task = 'embed' then
        return;
    elsif cardinality(made.content_columns) is distinct from 1 then
        raise exception using message = 'A file is in one column, and is not made by a function.',
            hint = 'Name the column: content_columns => ''{file}''; or uri_column, where it holds URIs.',
            errcode = 'invalid_parameter_value';
    elsif exists (select from pipeline p where p.embedding_table = made.source) then
        raise exception using message = format('%s is filled by a pipeline, and holds no files.', made.source),
            hint = 'Register the table that the files are in.', errcode = 'wrong_object_type';
    elsif not (_is_bytea(made) and made.uri_prefixes is null) and not exists (
        select from pg_attribute a join pg_type t on t.oid = _base_type(a.atttypid)
        where a.attrelid = made.source and a.attname = made.content_columns[1] and t.typcategory = 'S')
    then
        raise exception using
            message = format('%s.%I is %s, and a %s.', made.source, made.content_columns[1],
                _type_of_column(made.source, made.content_columns[1]),
                case when made.uri_prefixes is null then 'file is bytea' else 'URI is text' end),
            hint = case when made.uri_prefixes is null then 'Name a column of type bytea; one of type text is parsed, '
                'too, as a file in UTF-8.' else 'Name a column of type text.' end,
            errcode = 'datatype_mismatch';
    end if;
end $$;

create or replace function pgembedd_internal._is_bytea(made pgembedd_internal.pipeline) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from pg_attribute a
                   where a.attrelid = made.source and a.attname = made.content_columns[1] and not a.attisdropped
                     and _base_type(a.atttypid) = 'bytea'::regtype)
$$;

-- The option that names a pipeline's table, and what is said of one that is there.
create or replace function pgembedd_internal._table_option(
    made pgembedd_internal.pipeline, out option text, out noun text
)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case made.task when 'parse' then 'into_table' else 'embedding_table' end,
           case made.task when 'parse' then 'table of pages' else 'embedding table' end
$$;

-- The pipelines that stand on the table of another one, in words; null where there is none.
create or replace function pgembedd_internal._dependants(made pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('"%s"', p.name), ', ' order by p.name)
    from pipeline p where p.source = made.embedding_table and p.shadow_of is null
$$;

-- Refuses what only vectors can be asked for.
create or replace function pgembedd_internal._check_has_vectors(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if made.task <> 'embed' then
        raise exception using message = format('The pipeline "%s" makes text of files, and no vectors.', made.name),
            hint = coalesce('Name one that stands on its table: ' || _dependants(made) || '.',
                format('Make one on its table: select pgembedd.create_pipeline(''...'', %L, content_columns => '
                       '''{text}'', embedding_table => ''...'').', made.embedding_table_name)),
            errcode = 'wrong_object_type';
    end if;
end $$;

-- Tells that a table has the pages of files.
create or replace function pgembedd_internal._holds_pages(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select exists (select from pipeline p where p.embedding_table = $1 and p.task = 'parse') $$;
