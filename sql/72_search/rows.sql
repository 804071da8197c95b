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

-- What is shown of a hit. The row: the columns that the caller may read, vectors excepted, as an object. The snippet:
-- the beginning of the chunk, or of the text columns that they may read.
create or replace function pgembedd._search_shown(
    target jsonb, snippet_length integer, out row_expression text, out snippet text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    -- Of the texts; where there are none, of what else the vector is of, as JSON.
    select 'pg_catalog.concat_ws(E''\n\n'', ' || coalesce(
               string_agg(_search_read('s', c.name), ', ' order by array_position(t.columns, c.name))
                   filter (where c.category = 'S' and c.name = any (t.columns)),
               string_agg(_search_read('s', c.name), ', ' order by array_position(t.columns, c.name))
                   filter (where (c.base < 16384 or c.category = 'E') and c.name = any (t.columns))) || ')'
    into snippet
    from _search_columns((target ->> 'source_oid')::oid) c,
         (select array(select jsonb_array_elements_text(target -> 'text_columns'))) as t(columns);
    row_expression := _search_row_expression((target ->> 'source_oid')::oid, _most('row'));
    if snippet_length = 0 then
        snippet := null;
    elsif (target -> 'chunked')::boolean then
        snippet := _search_read('v', 'chunk');
    end if;
    snippet := case when snippet is null then 'null::pg_catalog.text'
                    else format('pgembedd._search_snippet(%s, %s, $8, $9, %s)', snippet, snippet_length,
                                coalesce(target -> 'text_configs' ->> 0, 'null')) end;
end $$;

-- As much of a text as a snippet is looked for in: to parse it takes as long as it is. The rest is not even fetched.
create or replace function pgembedd._search_read(alias text, name text) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return format('pg_catalog."left"(%s.%I::pg_catalog.text, %s)', alias, name, _most('read'));
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
