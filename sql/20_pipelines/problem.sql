-- A sentence about the problem of a pipeline that cannot work, or null.
create or replace function pgembedd_internal._problem(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select coalesce(_source_problem(pipeline), _hidden_from_owner(pipeline.source),
                    case when pipeline.embedding_table is not null then _table_problem(pipeline) end,
                    _column_problem(pipeline))
$$;

create or replace function pgembedd_internal._other_key(source regclass, pipeline text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('The primary key of %s changed. Change it back, or drop the pipeline "%s" and create it again.',
                  source, pipeline)
$$;

create or replace function pgembedd_internal._source_problem(pipeline pgembedd_internal.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing constant text := _missing_columns(pipeline.source, array_remove(
        pipeline.content_columns || pipeline.watch_columns || _unalterable_columns(pipeline)
        || pipeline.text_config_column, null));
    function constant text[] := parse_ident(pipeline.content_function);
begin
    if not _exists(pipeline.source) then
        return format('The table %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L)%s.',
            pipeline.source_name, pipeline.name,
            case when exists (  -- for to_regclass() our role would need USAGE on the schema
                     select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     where format('%I.%I', n.nspname, c.relname) = pipeline.source_name)
                 then ', then create it again for the new table of that name' end);
    elsif _inherits(pipeline.source) then
        return format('%s takes part in table inheritance, or is one partition of a table, by now. '
                      'Undo that, or drop the pipeline "%s" and register the partitioned table.',
                      pipeline.source, pipeline.name);
    elsif missing is not null then
        return format('%s has no column %s any more. Rename it back, or %s.', pipeline.source, missing,
            _without_columns(pipeline));
    elsif pipeline.key_columns <> array(select k.name from _key_columns(pipeline.source) k) then
        return _other_key(pipeline.source, pipeline.name);
    elsif pipeline.content_function is not null
        and _function_of(function[1], function[2], pipeline.source::text) is null
    then
        return format('The content function %s(%s) is gone. Create it again, then call pgembedd.resume(%3$L); or name '
            'another: pgembedd.alter_pipeline(%3$L, content_function => ...).',
            pipeline.content_function, pipeline.source, pipeline.name);
    end if;
    return null;
end $$;

-- The columns of the source in whose place alter_pipeline() takes no others.
create or replace function pgembedd_internal._unalterable_columns(pipeline pgembedd_internal.pipeline) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select array_remove(pipeline.embedding_column || _formatting_columns(pipeline), null) $$;

-- How a pipeline goes on without the columns that it lacks, as the end of a sentence.
create or replace function pgembedd_internal._without_columns(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when l.unalterable then format('drop the pipeline "%s" and create it again', pipeline.name)
        else format('call pgembedd.alter_pipeline(%L, %s)', pipeline.name, concat_ws(', ',
            case when l.content then 'content_columns => ...' end,
            case when l.config then 'text_config => ...' end,
            case when l.watched and pipeline.asked_watch_columns is not null then 'watch_columns => ...'
                 when not (l.content or l.config) then 'reset => ''{watch_columns}''' end)) end
    from (select _missing_columns(pipeline.source, _unalterable_columns(pipeline)) is not null as unalterable,
                 _missing_columns(pipeline.source, pipeline.content_columns) is not null as content,
                 _missing_columns(pipeline.source, array_remove(array[pipeline.text_config_column], null)) is not null
                     as config,
                 _missing_columns(pipeline.source, pipeline.asked_watch_columns) is not null as watched) l
$$;

-- Of the column that holds the vectors, in the source or in the embedding table.
create or replace function pgembedd_internal._column_problem(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('%s.%I is %s now, but the pipeline writes %s(%s). Change the '
                  'type back, or drop the pipeline "%s" and create it again.',
        _target(pipeline), _vector_column(pipeline), actual, pipeline.vector_type, pipeline.dimensions, pipeline.name)
    from _type_of_column(_target(pipeline), _vector_column(pipeline)) as actual
    where pipeline.task = 'embed' and actual <> _vectors_type(pipeline)
$$;
