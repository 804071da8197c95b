create or replace function pgembedd_internal._check_table_options(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text;
begin
    if made.embedding_table_name is null then
        return;
    elsif made.embedding_column is not null then
        raise exception using
            message = 'Say where the vectors are to go: embedding_column or embedding_table, one of the two.',
            hint = 'embedding_table holds one row a chunk, embedding_column one vector a row.',
            errcode = 'invalid_parameter_value';
    elsif _table_name(made) is null then
        raise exception using
            message = format('The %s %s is no name of a table.', (_table_option(made)).option,
                             quote_literal(made.embedding_table_name)),
            hint = 'Quote it as in SQL where needed: ''my_schema."My Embeddings"''.', errcode = 'invalid_name';
    elsif coalesce(made.splitter, '') not in ('text', 'markdown') then
        raise exception using
            message = _cut(format('splitter %s is not known.', coalesce(quote_literal(made.splitter), 'NULL'))),
            hint = 'Take text or markdown.', errcode = 'invalid_parameter_value';
    elsif made.chunk_tokens not between 16 and 100000 then
        raise exception using message = format('chunk_tokens %s is out of range.', made.chunk_tokens),
            hint = 'Take 16 or more; without it, a chunk is as long as the model reads.',
            errcode = 'invalid_parameter_value';
    elsif made.chunk_overlap_tokens < 0 or made.chunk_overlap_tokens > 0 and made.chunk_tokens is null then
        raise exception using
            message = format('chunk_overlap_tokens %s does not go without chunk_tokens.', made.chunk_overlap_tokens),
            hint = 'Say how long a chunk is, too: for example chunk_tokens => 256, chunk_overlap_tokens => 32.',
            errcode = 'invalid_parameter_value';
    elsif made.chunk_overlap_tokens * 2 > made.chunk_tokens then
        raise exception using
            message = format('Chunks of %s tokens cannot overlap by %s.', made.chunk_tokens, made.chunk_overlap_tokens),
            hint = 'chunk_overlap_tokens is at most half of chunk_tokens.', errcode = 'invalid_parameter_value';
    end if;
    ignored := _check_key_names(made);
end $$;

-- A table has the key of the source beside columns of ours.
create or replace function pgembedd_internal._check_key_names(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    option text;
begin
    select c.name into option from _table_columns(made) c where c.name = any (made.key_columns) limit 1;
    if option is not null then
        raise exception using
            message = format('The key column "%s" of %s is called like a column of the %s.', option, made.source,
                (_table_option(made)).noun),
            hint = case made.task when 'parse' then 'Rename it.' else 'Rename it, or take an embedding_column.' end,
            errcode = 'duplicate_column';
    end if;
end $$;

-- Refuses the options of chunks where there is no embedding table, and a formatting without its chunk.
create or replace function pgembedd_internal._check_chunk_options(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    option text := case when made.chunk_tokens is not null then 'chunk_tokens'
                        when made.chunk_overlap_tokens <> 0 then 'chunk_overlap_tokens'
                        when made.splitter <> 'text' then 'splitter'
                        when made.formatting is not null then 'formatting' end;
begin
    if made.embedding_table_name is null and option is not null then
        raise exception using
            message = format('%s needs an embedding_table: a column of the source holds one vector a row.', option),
            hint = format('A pipeline has one from create_pipeline() on: for example embedding_table => %L.',
                (select relname from pg_class where oid = made.source) || '_embeddings'),
            errcode = 'invalid_parameter_value';
    elsif made.formatting is not null
        and (select count(*) from _formatting_pieces(made.formatting) p where p.name = 'chunk') <> 1
    then
        raise exception using
            message = format('The formatting %s does not hold $chunk once.', quote_literal(made.formatting)),
            hint = 'It says what is put around each chunk: for example formatting => ''$title: $chunk''.',
            errcode = 'invalid_parameter_value';
    end if;
end $$;
