create or replace function pgembedd_internal._ensure_column(made pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wanted constant text := _vectors_type(made);
    actual constant text := _type_of_column(made.source, made.embedding_column);
    named constant text := format('%s.%I', made.source, made.embedding_column);
    taken constant text := (select p.name from pipeline p
                            where p.source = made.source and p.embedding_column = made.embedding_column);
    there record;
begin
    select a.attgenerated <> '' as generated, a.atttypmod as width, v.name as vector_type into there
    from pg_attribute a left join unnest('{halfvec,vector}'::text[]) as v(name)
        on a.atttypid = to_regtype(_vector_type(v.name))
    where a.attrelid = made.source and a.attname = made.embedding_column and not a.attisdropped;
    if taken is not null then
        raise exception using message = format('%s is filled by the pipeline "%s" already.', named, taken),
            hint = 'Two pipelines cannot share a column: name another embedding_column.', errcode = 'object_in_use';
    elsif actual is null then
        execute format('alter table %s add column %I %s', made.source, made.embedding_column, wanted);
    elsif actual <> wanted then
        raise exception using message = format('%s is %s, but this pipeline writes %s.', named,
            replace(actual, 'character varying', 'varchar'), wanted),
            hint = 'Name another embedding_column: it is created when missing, and this one stays as it is.' || case
                when there.vector_type is null then ''
                when there.width = made.dimensions
                then format(' Or say vector_type => %L, as this one has it.', there.vector_type)
                when there.width > 0
                then format(' A column of %s dimensions takes a model whose vectors have as many.', there.width)
                else '' end, errcode = 'datatype_mismatch';
    elsif there.generated then
        raise exception using message = format('%s is a generated column, which cannot be written.', named),
            hint = 'Name another embedding_column.', errcode = 'generated_always';
    end if;
end $$;
