-- A sentence about a problem of the embedding table, or null.
create or replace function pgembedd._table_problem(pipeline pgembedd.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    missing text;
    actual text;
begin
    if not _exists(pipeline.embedding_table) then
        return format('The embedding table %s was dropped. Remove the pipeline '
                      'with pgembedd.drop_pipeline(%L) and create it again.',
            pipeline.embedding_table_name, pipeline.name);
    end if;
    select string_agg(format('"%s"', c), ', ') into missing from unnest(pipeline.key_columns || _chunk_columns()) as c
    where not exists (select from pg_attribute a
                      where a.attrelid = pipeline.embedding_table and a.attname = c and not a.attisdropped);
    if missing is not null then
        return format('The embedding table %s has no column %s any more. Rename '
                      'it back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, missing, pipeline.name);
    end if;
    select format_type(a.atttypid, a.atttypmod) into actual from pg_attribute a
    where a.attrelid = pipeline.embedding_table and a.attname = 'embedding';
    if actual <> format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) then
        return format('%s.embedding is %s now, but the pipeline writes %s(%s). Change '
                      'the type back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, actual, pipeline.vector_type, pipeline.dimensions, pipeline.name);
    end if;
    return _chunk_key_problem(pipeline);
end $$;

-- Chunks are named by the source's key, so its columns must be able to hold it.
create or replace function pgembedd._chunk_key_problem(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('%1$s.%2$I is %3$s now, and %4$s.%2$I still %5$s. Run ALTER TABLE %4$s ALTER COLUMN %2$I '
                  'TYPE %3$s (the view is made again: drop it first), then call pgembedd.resume(%6$L).',
        pipeline.source, k.name, format_type(s.atttypid, s.atttypmod), pipeline.embedding_table,
        format_type(e.atttypid, e.atttypmod), pipeline.name)
    from _key_columns(pipeline.source) k
    join pg_attribute s on s.attrelid = pipeline.source and s.attname = k.name
    join pg_attribute e on e.attrelid = pipeline.embedding_table and e.attname = k.name
    where (s.atttypid, s.atttypmod) is distinct from (e.atttypid, e.atttypmod)
    order by k.nth limit 1
$$;
