-- The hits of a search by one leg or both. Both lists are fused by reciprocal rank: a hit counts the sum of
-- weight / (rrf_k + rank) over the lists that have it. By words that is taken times `held`, the share of the query's
-- idf in the words that the hit has, as the first of that list may have a common word alone.
create or replace function pgembedd_internal._search_hits(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._search_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    near pgembedd_internal._search_hit[];
    by_words pgembedd_internal._search_hit[];
    hits pgembedd_internal._search_hit[];
    skipped constant integer := coalesce(asked.after, 0);
begin
    if asked.mode <> 'text' then near := (_search_nearest(target, asked)).hits; end if;
    if asked.mode <> 'semantic' then by_words := (_search_words(target, asked)).hits; end if;
    hits := coalesce(near, by_words);
    if asked.mode = 'hybrid' then
        hits := array(
            select row (f.*, null)::_search_hit
            from (select coalesce(n.key, w.key) as key,
                         -- Of a row that both found, the chunk that stands higher.
                         case when n.key is null or w.text_rank < n.semantic_rank then w.chunk_index
                              else n.chunk_index end as chunk_index,
                         n.similarity,
                         coalesce(asked.weights[1] / (asked.rrf_k + n.semantic_rank), 0)
                         + coalesce(asked.weights[2] * w.held / (asked.rrf_k + w.text_rank), 0) as score,
                         n.semantic_rank, w.text_rank
                  from unnest(near) n full join unnest(by_words) w
                  on n.key = w.key and (asked.per = 'row' or n.chunk_index is not distinct from w.chunk_index)) f
            order by f.score desc, least(f.semantic_rank, f.text_rank), f.semantic_rank, f.key, f.chunk_index);
    end if;
    return hits[skipped + 1:skipped + least(asked.k, 1000 - skipped)];
end $$;
