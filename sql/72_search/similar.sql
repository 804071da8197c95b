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
    key jsonb, chunk_index integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, "row" jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    target pgembedd_internal._search_target;
    asked pgembedd_internal._asked;
    ignored text;
begin
    target := _search_target(pipeline, null, false);
    ignored := _check_search_rights(target);
    ignored := _check_json('like_key', like_key);
    asked.embedding := _vector_of(target, like_key);
    select k, filter, 'semantic', per, min_similarity, snippet_length, '{1,1}', 60, '{**,**}'
    into asked.k, asked.filter, asked.mode, asked.per, asked.min_similarity, asked.snippet_length, asked.weights,
         asked.rrf_k, asked.marks;
    asked := _asked(target, asked);
    asked.near_condition := format(
        '(%s) and not exists (select from (select %L::pg_catalog.jsonb as key) i cross join lateral %s where %s)',
        asked.near_condition, like_key, target.key_record, format(target.key_match, 's', 'k'));
    return query execute _search_rows_statement(target, asked, false)
    using _search_hits(target, asked), asked.embedding, null::tsquery, asked.marks;
    ignored := _check_search_target(target);
end $$;
comment on function pgembedd.similar is
    'The k rows most like the row with that key, by the vectors; filtered and complete as search(), as the caller.';

-- The vector of the row with that key.
create or replace function pgembedd_internal._vector_of(target pgembedd_internal._search_target, key jsonb)
returns @extschema:vector@.vector
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    embedding @extschema:vector@.vector;
begin
    begin
        execute format('select %1$I.avg(%2$s.%3$s::%1$I.vector) from (select $1 as key) i %4$s %5$s',
            target.vector_schema, target.alias, target.embedding, target.row_of_key, case when target.chunked
                then format('join %s v on %s', target.vectors, format(target.key_match, 'v', 'k')) end)
        into embedding using key;
    exception when data_exception then null;  -- no value of the key's type
    end;
    if embedding is null then
        raise exception using message = format('No row of "%s" has the key %s and a vector.', target.name,
                   coalesce(_shortened(key), 'NULL')),
            hint =
                'A key is given as a search returns it: for example to_jsonb(7), or {"a": 1, "b": 2} for two columns.',
            errcode = 'no_data_found';
    end if;
    return embedding;
end $$;
