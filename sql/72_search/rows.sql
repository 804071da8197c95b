-- The hits with what is shown of each; `row_expression` is the row as JSON or as the table's own type.
create or replace function pgembedd._search_rows_statement(target jsonb, row_expression text, snippet text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return format(
        'select i.key, i.chunk_no, i.score, i.similarity, i.semantic_rank, i.text_rank, %s, %s '
        'from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), '
        'pg_catalog.unnest($5), pg_catalog.unnest($6)) with ordinality '
        'as i(key, chunk_no, score, similarity, semantic_rank, text_rank, nth) '
        'cross join lateral %s join %s s on %s %s order by i.nth',
        snippet, row_expression, target ->> 'key_record', target ->> 'source', target ->> 'is_source_row',
        case when (target -> 'chunked')::boolean
             then format('join %s v on %s and v.chunk_no operator(pg_catalog.=) i.chunk_no',
                         target ->> 'vectors', target ->> 'is_chunk') end);
end $$;

-- The columns that the caller may read, vectors excepted, as an object; types from outside Postgres by their text.
create or replace function pgembedd._search_row(source oid) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('(select pg_catalog.to_jsonb(r) from (select %s) r)', string_agg(
        case when c.base < 16384 then format('s.%I', c.name)
             else format('pg_catalog.format(''%%s'', s.%1$I) as %1$I', c.name) end, ', ' order by c.number))
    from _search_columns(source) c
$$;

-- The beginning of the text of a hit, cut at a word: of the chunk, or of the text columns that the caller may read.
create or replace function pgembedd._search_snippet(target jsonb, words integer) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when words = 0 then 'null::pg_catalog.text'
        else format('pgembedd._first_words(%s, %s)', case
            when (target -> 'chunked')::boolean then 'v.chunk'
            else coalesce((
                select format('pg_catalog.concat_ws(E''\n\n'', %s)',
                              string_agg(format('s.%I::pg_catalog.text', c.name), ', ' order by w.nth))
                from jsonb_array_elements_text(target -> 'text_columns') with ordinality as w(name, nth)
                join _search_columns((target ->> 'source_oid')::oid) c on c.name = w.name and c.category = 'S'),
                'null::pg_catalog.text') end, words) end
$$;

create or replace function pgembedd._first_words(content text, words integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    beginning text := substring(left(content, 16 * words) from format('^\s*(?:\S+\s+){0,%s}\S+', words - 1));
begin
    if length(beginning) = length(content) then
        return beginning;
    elsif length(beginning) = 16 * words then
        beginning := regexp_replace(beginning, '(\S)\s+\S+$', '\1');  -- its last word may have been cut
    end if;
    return beginning || ' …';
end $$;
