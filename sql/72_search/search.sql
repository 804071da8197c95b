-- Search in one call. Everything that reads a user's table runs as the caller, so that row level security and the
-- grants on columns hold. STABLE: all statements inside see one snapshot.

create or replace function pgembedd.search(
    pipeline text,
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'semantic',
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200,
    embedding vector default null
) returns table (
    key jsonb, chunk_no integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, "row" jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    target jsonb := _search_target(pipeline, null);
    hits record;
    shown record;
begin
    perform _check_search(target, query, k, mode, per, min_similarity, snippet_length, embedding);
    select h.* into hits from _search_hits(target, query, k, filter, per, min_similarity, embedding) h;
    select s.* into shown from _search_shown(target, snippet_length) s;
    return query execute _search_rows_statement(target, shown.row_expression, shown.snippet)
    using hits.keys, hits.chunk_nos, hits.scores, hits.similarities, hits.semantic_ranks, hits.text_ranks;
    perform _check_search_target(target);
end $$;
comment on function pgembedd.search(
    text, text, integer, jsonb, text, text, double precision, integer, vector) is
    'Search a pipeline by its name: the k best rows or chunks that pass the filter, with their scores, as the caller.';

create or replace function pgembedd.search(
    source anyelement,
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'semantic',
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200,
    embedding vector default null,
    pipeline text default null
) returns table (
    key jsonb, chunk_no integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, "row" anyelement)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    target jsonb := _search_target(pipeline, _searched_table(pg_typeof(source)));
    hits record;
    shown record;
begin
    perform _check_search(target, query, k, mode, per, min_similarity, snippet_length, embedding);
    perform _check_whole_row(target);
    select h.* into hits from _search_hits(target, query, k, filter, per, min_similarity, embedding) h;
    select s.* into shown from _search_shown(target, snippet_length) s;
    return query execute _search_rows_statement(target, format('(s.*)::%s', target ->> 'source'), shown.snippet)
    using hits.keys, hits.chunk_nos, hits.scores, hits.similarities, hits.semantic_ranks, hits.text_ranks;
    perform _check_search_target(target);
end $$;
comment on function pgembedd.search(
    anyelement, text, integer, jsonb, text, text, double precision, integer, vector, text) is
    'Search a table, given as null::some_table: as search() by name, with each hit''s row in the table''s own type.';

-- The hits of both forms, best first.
create or replace function pgembedd._search_hits(
    target jsonb, query text, k integer, filter jsonb, per text, min_similarity double precision, embedding vector,
    out keys jsonb[], out chunk_nos integer[], out scores double precision[], out similarities double precision[],
    out semantic_ranks integer[], out text_ranks integer[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    condition text := _search_filter((target ->> 'source_oid')::oid, filter);
begin
    embedding := coalesce(embedding, embed(query, pipeline => target ->> 'name'));
    select array_agg(h.key order by h.nth), array_agg(h.chunk_no order by h.nth),
           array_agg(h.similarity order by h.nth), array_agg(h.nth::integer order by h.nth)
    into keys, chunk_nos, similarities, semantic_ranks
    from (select n.key, n.chunk_no, n.nth, _similarity(target ->> 'distance', n.distance) as similarity
          from _search_nearest(target, embedding, k, condition, per = 'row') f,
               unnest(f.keys, f.chunk_nos, f.distances) with ordinality as n(key, chunk_no, distance, nth)) h
    where min_similarity is null or h.similarity >= min_similarity;
    scores := similarities;
end $$;

create or replace function pgembedd._similarity(
    distance_name text, distance double precision
) returns double precision
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case distance_name when 'cosine' then 1 - distance when 'ip' then -distance else 1 / (1 + distance) end $$;
