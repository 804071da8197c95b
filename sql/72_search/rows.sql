-- The similarity of a row or chunk to the vector $n, as an SQL expression.
create or replace function pgembedd._search_similarity(target jsonb, alias text, nth integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format(case target ->> 'distance' when 'cosine' then '(1 operator(pg_catalog.-) (%s.%s %s $%s::%s))'
                      when 'ip' then '(operator(pg_catalog.-) (%s.%s %s $%s::%s))'
                      else '(1 operator(pg_catalog./) (1 operator(pg_catalog.+) (%s.%s %s $%s::%s)))' end,
        alias, target ->> 'embedding', target ->> 'operator', nth, target ->> 'vector_type')
$$;

-- The hits with what is shown of each; `row_expression` is the row as JSON or as the table's own type.
create or replace function pgembedd._search_rows_statement(target jsonb, row_expression text, snippet text) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return format(
        'select i.key, i.chunk_no, i.score, coalesce(i.similarity, %s), i.semantic_rank, i.text_rank, %s, %s '
        'from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), '
        'pg_catalog.unnest($5), pg_catalog.unnest($6)) with ordinality '
        'as i(key, chunk_no, similarity, score, semantic_rank, text_rank, nth) '
        'cross join lateral %s join %s s on %s %s order by i.nth',
        _search_similarity(target, case when (target -> 'chunked')::boolean then 'v' else 's' end, 7),
        snippet, row_expression, target ->> 'key_record', target ->> 'source', target ->> 'is_source_row',
        case when (target -> 'chunked')::boolean
             then format('join %s v on %s and v.chunk_no operator(pg_catalog.=) i.chunk_no',
                         target ->> 'vectors', target ->> 'is_chunk') end);
end $$;

-- The beginning of a text, cut at a word.
create or replace function pgembedd._beginning(content text, length integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    beginning constant text := left(content, length + 1);
    since_gap integer;
begin
    if pg_catalog.length(beginning) <= length then return content; end if;
    since_gap := strpos(reverse(translate(beginning, E'\t\n\r', '   ')), ' ');
    return rtrim(left(beginning, length + 1 - greatest(since_gap, 1)), E' \t\n\r')
        || ' ' || pgembedd._search_ellipsis();
end $$;

-- Three dots: one character, where the encoding of the database has it.
create or replace function pgembedd._search_ellipsis() returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if getdatabaseencoding() = 'UTF8' then return chr(8230); end if;
    return '...';
end $$;
