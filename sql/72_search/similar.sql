-- Rows like one row, by the vector that it has; of a row in chunks, by the mean of theirs. The row itself is left out.
create or replace function pgembedd.similar(
    pipeline text,
    like_key jsonb,
    k integer default 10,
    filter jsonb default null,
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200
) returns table (
    key jsonb, chunk_no integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, "row" jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    target jsonb;
    liked record;
    hits record;
    shown record;
    ignored text;
begin
    target := _search_target(pipeline, null, false);
    ignored := _check_search_rights(target);
    ignored := _check_json('like_key', like_key);
    target := target || jsonb_build_object('except', _search_except(target, like_key));
    liked := _search_like(target, like_key);
    ignored := _check_search(target, null, k, 'semantic', per, min_similarity, snippet_length, liked.embedding);
    hits := _search_hits(
        target, null, k,
        concat_ws(' and ', _search_filter((target ->> 'source_oid')::oid, filter), target ->> 'except'),
        'semantic', per, min_similarity, liked.embedding, '{1,1}', 60, null);
    shown := _search_shown(target, snippet_length, _most('row'));
    return query execute _search_rows_statement(target, shown.row_expression, shown.snippet)
    using hits.keys, hits.chunk_nos, hits.similarities, hits.scores, hits.semantic_ranks, hits.text_ranks,
          liked.embedding, hits.marked, '{**,**}'::text[];
    ignored := _check_search_target(target);
end $$;
comment on function pgembedd.similar is
    'The k rows most like the row with that key, by the vectors; filtered and complete as search(), as the caller.';

-- The condition that a row of the source `s` is not the one with that key.
create or replace function pgembedd._search_except(target jsonb, like_key jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('not exists (select from (select %L::pg_catalog.jsonb as key) i cross join lateral %s where %s)',
        like_key, target ->> 'key_record', target ->> 'is_source_row')
$$;

-- The vector, and of how many it is the mean.
create or replace function pgembedd._search_like(
    target jsonb, like_key jsonb, out embedding @extschema:vector@.vector, out parts bigint
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    chunked constant boolean := target -> 'chunked';
begin
    begin
        execute format('select %1$I.avg(%2$s.%3$s::%1$I.vector), pg_catalog.count(*) from (select $1 as key) i '
                       'cross join lateral %4$s '
                       'join %5$s s on %6$s %7$s',
            target ->> 'vector_schema', case when chunked then 'v' else 's' end, target ->> 'embedding',
            target ->> 'key_record', target ->> 'source', target ->> 'is_source_row',
            case when chunked then format('join %s v on %s', target ->> 'vectors', target ->> 'is_chunk') end)
        into embedding, parts using like_key;
    exception when data_exception then null;  -- no value of the key's type
    end;
    if embedding is null then
        raise exception using message = format('No row of "%s" has the key %s and a vector.', target ->> 'name',
                   coalesce(_shortened(like_key), 'NULL')),
            hint =
                'A key is given as a search returns it: for example to_jsonb(7), or {"a": 1, "b": 2} for two columns.',
            errcode = '22023';
    end if;
end $$;
