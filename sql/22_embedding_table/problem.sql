-- A sentence about a problem of the embedding table, or null.
create or replace function pgembedd_internal._table_problem(pipeline pgembedd_internal.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing text := _missing_columns(pipeline.embedding_table, pipeline.key_columns
        || array(select c.name from _table_columns(pipeline) c order by c.nth));
begin
    if not _exists(pipeline.embedding_table) then
        return format('The %s %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L) and create it again.',
            (_table_option(pipeline)).noun, pipeline.embedding_table_name, pipeline.name);
    elsif missing is not null then
        return format('The %s %s has no column %s any more. Rename '
                      'it back, or drop the pipeline "%s" and create it again.',
            (_table_option(pipeline)).noun, pipeline.embedding_table, missing, pipeline.name);
    end if;
    return _chunk_key_problem(pipeline);
end $$;

-- Chunks are named by the source's key, so its columns must be able to hold it.
create or replace function pgembedd_internal._chunk_key_problem(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('%1$s.%2$I is %3$s now, and %4$s.%2$I still %5$s. Run ALTER TABLE %4$s ALTER COLUMN %2$I '
                  'TYPE %3$s (the view is made again: drop it first), then call pgembedd.resume(%6$L).',
        pipeline.source, k.name, s.type, pipeline.embedding_table, e.type, pipeline.name)
    from _key_columns(pipeline.source) k, _type_of_column(pipeline.source, k.name) as s(type),
         _type_of_column(pipeline.embedding_table, k.name) as e(type)
    where s.type <> e.type order by k.nth limit 1
$$;
