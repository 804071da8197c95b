-- The hits of the page that is asked for. All pages are cut from one order of 1000 hits at most, which depends on no
-- page: it is made of lists of growing depths, each followed by what the next one has in addition. A page costs the
-- lists that it needs, which for the first pages is one.
create or replace function pgembedd_internal._search_hits(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._search_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wanted constant integer := least(1000, asked.skip + asked.k);
    hits pgembedd_internal._search_hit[] := '{}';
begin
    if asked.skip >= wanted then return hits; end if;
    if asked.filtered then asked := _search_expected(target, asked); end if;
    if asked.mode = 'semantic' and wanted <= 100 then  -- one list
        asked.wanted := wanted;
        return (_search_nearest(target, asked)).hits[asked.skip + 1:wanted];
    end if;
    foreach asked.wanted in array _search_depths(asked.mode, wanted) loop
        hits := _search_joined(hits, _search_list(target, asked), asked.wanted, asked.per, asked.mode);
        exit when cardinality(hits) < asked.wanted or cardinality(hits) >= wanted;
    end loop;
    return hits[asked.skip + 1:wanted];
end $$;

-- The depths of the lists down to the end of the page. A list by words is the beginning of every longer one, so it is
-- as long as the page needs; so is one of an exact scan, and one of an index for up to 100 hits. A fused list is not.
create or replace function pgembedd_internal._search_depths(mode text, wanted integer) returns integer[]
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    depths constant integer[] := case mode when 'text' then array[greatest(wanted, 10)]
        when 'hybrid' then '{60,240,1000}' else array[least(wanted, 100), 250, 1000] end;
begin
    return depths[:1 + width_bucket(wanted - 1, depths)];
end $$;

-- The first `wanted` hits of one leg, or those of both, fused by reciprocal rank: a hit counts the sum of
-- weight / (rrf_k + rank) over the lists that have it. By words that is taken times `held`, the share of the query's
-- idf in the words that the hit has, as the first of that list may have a common word alone.
create or replace function pgembedd_internal._search_list(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._search_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    passing jsonb;  -- what stands around the filter in the statement of both legs
    near record;
    words record;
begin
    if asked.filtered and asked.matches is null then asked := _search_expected(target, asked); end if;
    if asked.matches is not null and asked.mode = 'hybrid' then asked := _search_filtered_once(target, asked); end if;
    if asked.mode = 'semantic' then return (_search_nearest(target, asked)).hits; end if;
    if asked.mode = 'text' then return (_search_words(target, asked)).hits; end if;
    if asked.matches <= 5000 and asked.words <> '{}' and asked.near_condition = asked.words_condition
       and asked.min_similarity is null and not row_security_active(target.source) then
        passing := target.filters -> 'passing' -> asked.words_table::text;
    end if;
    near := _search_nearest(target, asked, passing is not null);
    words := _search_words(target, asked, case when near.hits is null
                                               then concat(passing ->> 0, asked.near_condition, passing ->> 1) end);
    return array(
        select row (f.*, null)::_search_hit
        from (select coalesce(n.key, w.key) as key,
                     -- Of a row that both found, the chunk that stands higher.
                     case when n.key is null or w.text_rank < n.semantic_rank then w.chunk_index
                          else n.chunk_index end as chunk_index,
                     n.similarity,
                     coalesce(asked.semantic_weight / (asked.rrf_k + n.semantic_rank), 0)
                     + coalesce(asked.text_weight * w.held / (asked.rrf_k + w.text_rank), 0) as score,
                     n.semantic_rank, w.text_rank
              from unnest(coalesce(near.hits, words.near)) with ordinality
                   as n(key, chunk_index, similarity, score, ranked, text_rank, held, semantic_rank)
              full join unnest(words.hits) w
              on n.key = w.key and (asked.per = 'row' or n.chunk_index is not distinct from w.chunk_index)) f
        order by f.score desc, least(f.semantic_rank, f.text_rank), f.semantic_rank, f.key, f.chunk_index);
end $$;

-- The hits, and after them those of a longer list that are not among them, `wanted` in all, or more by meaning, where
-- the list has them. In the order of one leg the rank of each is its place, which one by meaning does not state.
create or replace function pgembedd_internal._search_joined(
    hits pgembedd_internal._search_hit[], list pgembedd_internal._search_hit[], wanted integer, per text, leg text
) returns pgembedd_internal._search_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    before constant integer := cardinality(hits);
    most constant integer := case leg when 'semantic' then 1000 else wanted end;
begin
    if before = 0 then return list[:most]; end if;
    return hits || array(
        select row (l.key, l.chunk_index, l.similarity, l.score, l.semantic_rank,
                    case leg when 'text' then before + row_number() over (order by l.nth) else l.text_rank end,
                    l.held)::_search_hit
        from unnest(list) with ordinality
             as l(key, chunk_index, similarity, score, semantic_rank, text_rank, held, nth)
        where not exists (select from unnest(hits) h where h.key = l.key
                          and (per = 'row' or h.chunk_index is not distinct from l.chunk_index))
        order by l.nth limit most - before);
end $$;
