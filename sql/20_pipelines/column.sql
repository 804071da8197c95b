create or replace function pgembedd._ensure_column(made pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    wanted text := format('%s(%s)', _vector_type(made.vector_type), made.dimensions);
    actual text;
    width integer;
    taken text := (select p.name from pipeline p
                   where p.source = made.source and p.embedding_column = made.embedding_column);
    generated "char";
begin
    if taken is not null then
        raise exception using message = format('%s.%s is filled by the pipeline "%s" already.', made.source,
            quote_ident(made.embedding_column), taken),
            hint = 'Two pipelines cannot share a column: name another embedding_column.', errcode = '22023';
    end if;
    select format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attgenerated into actual, width, generated
    from pg_attribute a
    where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum > 0 and not a.attisdropped;
    if actual is null then
        execute format('alter table %s add column %I %s', made.source, made.embedding_column, wanted);
    elsif actual <> wanted then
        raise exception using message = format('%s.%s is %s, but this pipeline writes %s.', made.source,
            quote_ident(made.embedding_column),
            replace(actual, 'character varying', 'varchar'), wanted),
            hint = 'Name another embedding_column: it is created when missing, and this one stays as it is.' || case
                when actual = format('%s(%s)', _vector_type('vector'), made.dimensions)
                then ' Or say vector_type => ''vector'', as this one has it.'
                when actual = format('%s(%s)', _vector_type('halfvec'), made.dimensions)
                then ' Or say vector_type => ''halfvec'', as this one has it.'
                when width > 0 and actual in (format('%s(%s)', _vector_type('vector'), width),
                                              format('%s(%s)', _vector_type('halfvec'), width))
                then format(' A column of %s dimensions takes a model whose vectors have as many.', width)
                else '' end, errcode = '22023';
    elsif generated <> '' then
        raise exception using message = format('%s.%s is a generated column, which cannot be written.', made.source,
            quote_ident(made.embedding_column)),
            hint = 'Name another embedding_column.', errcode = '22023';
    end if;
end $$;
