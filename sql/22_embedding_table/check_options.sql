create or replace function pgembedd._check_table_options(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    option text;
begin
    if made.embedding_table_name is null then
        perform _refuse_chunk_options(made);
        return;
    elsif made.embedding_column is not null then
        perform _refuse('Say where the vectors are to go: embedding_column or embedding_table, one of the two.',
            'embedding_table holds one row a chunk, embedding_column one vector a row.');
    elsif _table_name(made) is null then
        perform _refuse(
            format('The embedding_table %s is no name of a table.', quote_literal(made.embedding_table_name)),
            'Quote it as in SQL where it needs quoting: ''my_schema."My Embeddings"''.');
    elsif coalesce(made.splitter, '') not in ('text', 'markdown') then
        perform _refuse(format('splitter %s is not known.', coalesce(quote_literal(made.splitter), 'NULL')),
            'Take text or markdown.');
    elsif made.chunk_tokens not between 16 and 100000 then
        perform _refuse(format('chunk_tokens %s is out of range.', made.chunk_tokens),
            'Take 16 or more; without it, a chunk is as long as the model reads.');
    elsif made.chunk_overlap < 0 or made.chunk_overlap > 0 and made.chunk_tokens is null then
        perform _refuse(format('chunk_overlap %s does not go without chunk_tokens.', made.chunk_overlap),
            'Say how long a chunk is, too: for example chunk_tokens => 256, chunk_overlap => 32.');
    elsif made.chunk_overlap * 2 > made.chunk_tokens then
        perform _refuse(format('Chunks of %s tokens cannot overlap by %s.', made.chunk_tokens, made.chunk_overlap),
            'chunk_overlap is at most half of chunk_tokens.');
    end if;
    select k into option from unnest(made.key_columns) as k where k = any (_chunk_columns()) limit 1;
    if option is not null then
        perform _refuse(
            format('The key column "%s" of %s is called like a column of the embedding table.', option, made.source),
            'Rename it, or take an embedding_column.');
    end if;
    perform _check_formatting(made);
end $$;

-- Refuses the options of an embedding table where there is none.
create or replace function pgembedd._refuse_chunk_options(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    option text := case when made.chunk_tokens is not null then 'chunk_tokens'
                        when made.chunk_overlap is not null then 'chunk_overlap'
                        when made.splitter <> 'text' then 'splitter'
                        when made.formatting is not null then 'formatting' end;
begin
    if option is not null then
        perform _refuse(
            format('%s needs an embedding_table: a column of the source holds one vector a row.', option),
            format('For example embedding_table => %L.',
                (select relname from pg_class where oid = made.source) || '_embeddings'));
    end if;
end $$;
