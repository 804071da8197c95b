-- Search in one call. Everything that reads a user's table runs as the caller, so that row level security and the
-- grants on columns hold. STABLE: all statements inside see one snapshot.

create or replace function pgembedd.search(
    pipeline text,
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'hybrid',
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200,
    embedding @extschema:vector@.vector default null,
    weights double precision[] default '{1,1}',
    rrf_k integer default 60,
    after integer default null,
    marks text[] default '{**,**}'
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
    condition text;
    asked jsonb;
    hits record;
    shown record;
    ignored text;
begin
    target := _search_target(pipeline, null, mode is distinct from 'semantic');
    ignored := _check_search(target, query, k, mode, per, min_similarity, snippet_length, embedding);
    ignored := _check_search_rights(target);
    ignored := _check_search_ranking(mode, min_similarity, weights, rrf_k, after, marks);
    ignored := _check_members('marks', marks);
    condition := _search_filter((target ->> 'source_oid')::oid, filter);
    mode := _search_mode(target, mode, query);
    asked := _search_asked(target, mode, query);
    embedding := case when mode <> 'text'
                      then coalesce(embedding, embed(asked ->> 'plain', pipeline => target ->> 'name')) end;
    hits := _search_hits(
        target, asked, k, condition, mode, per, min_similarity, embedding, weights, rrf_k, after);
    shown := _search_shown(target, snippet_length, _most('row'));
    return query execute _search_rows_statement(target, shown.row_expression, shown.snippet)
    using hits.keys, hits.chunk_nos, hits.similarities, hits.scores, hits.semantic_ranks, hits.text_ranks, embedding,
          hits.marked, marks;
    ignored := _check_search_target(target);
end $$;
comment on function pgembedd.search(
    text, text, integer, jsonb, text, text, double precision, integer,
    @extschema:vector@.vector, double precision[], integer, integer, text[]) is
    'Search a pipeline by its name: the k best rows or chunks that pass the filter, with their scores, as the caller.';

create or replace function pgembedd.search(
    source anyelement,
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'hybrid',
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200,
    embedding @extschema:vector@.vector default null,
    pipeline text default null,
    weights double precision[] default '{1,1}',
    rrf_k integer default 60,
    after integer default null,
    marks text[] default '{**,**}'
) returns table (
    key jsonb, chunk_no integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, "row" anyelement)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    target jsonb;
    condition text;
    asked jsonb;
    hits record;
    shown record;
    ignored text;
begin
    target := _search_target(pipeline, _searched_table(pg_typeof(source)), mode is distinct from 'semantic');
    ignored := _check_search(target, query, k, mode, per, min_similarity, snippet_length, embedding);
    ignored := _check_search_rights(target);
    ignored := _check_search_ranking(mode, min_similarity, weights, rrf_k, after, marks);
    ignored := _check_members('marks', marks);
    ignored := _check_whole_row(target);
    condition := _search_filter((target ->> 'source_oid')::oid, filter);
    mode := _search_mode(target, mode, query);
    asked := _search_asked(target, mode, query);
    embedding := case when mode <> 'text'
                      then coalesce(embedding, embed(asked ->> 'plain', pipeline => target ->> 'name')) end;
    hits := _search_hits(
        target, asked, k, condition, mode, per, min_similarity, embedding, weights, rrf_k, after);
    shown := _search_shown(target, snippet_length, _most('row'));
    return query execute _search_rows_statement(target, format('(s.*)::%s', target ->> 'source'), shown.snippet)
    using hits.keys, hits.chunk_nos, hits.similarities, hits.scores, hits.semantic_ranks, hits.text_ranks, embedding,
          hits.marked, marks;
    ignored := _check_search_target(target);
end $$;
comment on function pgembedd.search(
    anyelement, text, integer, jsonb, text, text, double precision, integer,
    @extschema:vector@.vector, text, double precision[], integer, integer, text[]) is
    'Search a table, given as null::some_table: as search() by name, with each hit''s row in the table''s own type.';
