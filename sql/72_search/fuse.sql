-- The hits of a search by one leg or both. Both lists are fused by reciprocal rank: a hit counts the sum of
-- weight / (rrf_k + rank) over the lists that have it. By words that is taken times `held`, the share of the query's
-- idf in the words that the hit has, as the first of that list may have a common word alone. The lists are longer than
-- k, so that a hit that both have counts twice (but no row of common words is fetched to make that by words longer);
-- with `after` they are as long as the window, so that each page is cut from the same order.

create or replace function pgembedd._search_hits(
    target jsonb, asked jsonb, k integer, condition text, mode text, per text, min_similarity double precision,
    embedding @extschema:vector@.vector, weights double precision[], rrf_k integer, after integer,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out scores double precision[],
    out semantic_ranks integer[], out text_ranks integer[], out marked tsquery
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    per_row constant boolean := per = 'row';
    wanted integer;
    near record;
    by_words record;
begin
    if mode <> 'semantic' then
        target := target || coalesce(asked -> 'seen', '{}');
        marked := _search_any(array(select jsonb_array_elements_text(asked -> 'words')));
        condition := _search_included(target, asked, condition, per_row);
    end if;
    wanted := _search_window(mode, k, after);
    if mode <> 'text' then
        near := _search_nearest(target, embedding, wanted, _search_required(target, asked, condition), per_row,
                                min_similarity);
    end if;
    if mode = 'semantic' then
        keys := near.keys; chunk_nos := near.chunk_nos; similarities := near.similarities; scores := near.similarities;
        semantic_ranks := array(select generate_subscripts(keys, 1));
    else
        by_words := _search_words(target, asked, wanted, case when after is null then k else wanted end,
                                  condition, per_row, embedding, min_similarity);
        keys := by_words.keys; chunk_nos := by_words.chunk_nos; scores := by_words.scores;
        text_ranks := array(select generate_subscripts(keys, 1));
    end if;
    if mode = 'hybrid' then
        select f.* into keys, chunk_nos, similarities, scores, semantic_ranks, text_ranks
        from _search_fused(near.keys, near.chunk_nos, near.similarities, by_words.keys, by_words.chunk_nos,
                           by_words.held, per_row, weights, rrf_k) f;
    end if;
    after := coalesce(after, 0); k := least(k, 1000 - after);
    keys := keys[after + 1:after + k]; chunk_nos := chunk_nos[after + 1:after + k];
    similarities := similarities[after + 1:after + k]; scores := scores[after + 1:after + k];
    semantic_ranks := semantic_ranks[after + 1:after + k]; text_ranks := text_ranks[after + 1:after + k];
end $$;

-- How long the list of each leg is.
create or replace function pgembedd._search_window(mode text, k integer, after integer) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when after is not null then 1000 when mode = 'hybrid' then least(1000, greatest(60, 4 * k)) else k end
$$;

create or replace function pgembedd._search_fused(
    near_keys jsonb[], near_chunks integer[], near_similarities double precision[], word_keys jsonb[],
    word_chunks integer[], word_held double precision[], per_row boolean, weights double precision[], rrf_k integer,
    out keys jsonb[], out chunk_nos integer[], out similarities double precision[], out scores double precision[],
    out semantic_ranks integer[], out text_ranks integer[]
)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(h.key order by h.nth), '{}'), array_agg(h.chunk_no order by h.nth),
           array_agg(h.similarity order by h.nth), array_agg(h.score order by h.nth),
           array_agg(h.semantic_rank order by h.nth), array_agg(h.text_rank order by h.nth)
    from (
        select f.*, row_number() over (order by f.score desc, least(f.semantic_rank, f.text_rank), f.semantic_rank,
                                       f.key, f.chunk_no) as nth
        from (
            select coalesce(n.key, w.key) as key, n.similarity, n.nth::integer as semantic_rank,
                   w.nth::integer as text_rank,
                   -- Of a row that both found, the chunk that stands higher.
                   case when n.nth is null or w.nth < n.nth then w.chunk_no else n.chunk_no end as chunk_no,
                   coalesce(weights[1] / (rrf_k + n.nth), 0) + coalesce(weights[2] * w.held / (rrf_k + w.nth), 0)
                       as score
            from unnest(near_keys, near_chunks, near_similarities) with ordinality as n(key, chunk_no, similarity, nth)
            full join unnest(word_keys, word_chunks, word_held) with ordinality as w(key, chunk_no, held, nth)
            on n.key = w.key and coalesce(n.chunk_no, -1) = case when per_row then coalesce(n.chunk_no, -1)
                                                                 else coalesce(w.chunk_no, -1) end) f) h
$$;

-- The filter with what must stand in no chunk of a row, where a row is what is found.
create or replace function pgembedd._search_included(target jsonb, asked jsonb, condition text, per_row boolean)
returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when asked ->> 'excluded' is null or not (per_row and (target -> 'chunked')::boolean) then condition
                else format('(%s) and not exists (select from %s w where %s '
                            'and w.pgembedd_words operator(pg_catalog.@@) %L::pg_catalog.tsquery)', condition,
                            _search_words_relation(target), target ->> 'words_of_source', asked ->> 'excluded') end
$$;

-- The filter with what the query requires or excludes, which then holds for rows that are found by meaning, too.
create or replace function pgembedd._search_required(target jsonb, asked jsonb, condition text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when asked ->> 'required' is null then condition else format(
        '(%s) and exists (select from %s w where %s %s '
        'and w.pgembedd_words operator(pg_catalog.@@) %L::pg_catalog.tsquery)',
        condition, _search_words_relation(target), target ->> 'words_of_source',
        case when (target -> 'chunked')::boolean then 'and w.chunk_no operator(pg_catalog.=) v.chunk_no' end,
        asked ->> 'required') end
$$;
