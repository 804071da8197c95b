-- One search over several pipelines. The lists of all are put in one order by reciprocal rank: by meaning, in the order
-- of the similarities where all have the same model and distance, else each in its own order, as words are.
create or replace function pgembedd.search_many(
    pipelines text[],
    query text,
    k integer default 10,
    filter jsonb default null,
    skip integer default 0,
    mode text default 'hybrid',
    min_similarity double precision default null,
    per text default 'row',
    options jsonb default '{}'
) returns table (
    pipeline text, key jsonb, chunk_index integer, score double precision, similarity double precision,
    semantic_rank integer, text_rank integer, snippet text, record jsonb, place jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    targets pgembedd_internal._search_target[];
    askings pgembedd_internal._asked[];
    asked pgembedd_internal._asked;
    page record;
    ignored text;
begin
    ignored := _check_members('pipelines', pipelines);
    if pipelines is null or cardinality(pipelines) not between 1 and 20 or array_ndims(pipelines) <> 1
       or (select count(distinct p) from unnest(pipelines) p) <> cardinality(pipelines) then
        raise exception using message = format('The pipelines %L cannot be searched at once.', pipelines),
            hint = 'Name one to twenty different ones: for example array[''articles'', ''tickets''].',
            errcode = 'invalid_parameter_value';
    end if;
    select query, k, filter, skip, mode, min_similarity, per
    into asked.query, asked.k, asked.filter, asked.skip, asked.mode, asked.min_similarity, asked.per;
    asked := _search_with_options(asked, options, _search_options());
    for i in 1 .. cardinality(pipelines) loop
        targets[i] := _search_target(pipelines[i], null, mode is distinct from 'semantic');
        askings[i] := _asked(targets[i], asked);
    end loop;
    for i in 1 .. cardinality(pipelines) loop
        if askings[i].mode <> 'text' then
            askings[i].embedding := embed(askings[i].plain, pipeline => pipelines[i]);
        end if;
    end loop;
    page := _search_many_hits(targets, askings);
    return query
        select pipelines[p.owner], r.key, r.chunk_index, r.score, r.similarity, r.semantic_rank, r.text_rank, r.snippet,
               r.record, r.place
        from (select page.owners[i] as owner, array_agg(page.hits[i] order by i) as hits,
                     array_agg(i order by i) as places
              from generate_subscripts(page.hits, 1) i group by 1) p
        cross join lateral unnest(_search_rows(targets[p.owner], askings[p.owner], p.hits)) with ordinality
             as r(key, chunk_index, score, similarity, semantic_rank, text_rank, snippet, record, place, nth)
        order by p.places[r.nth];
    for i in 1 .. cardinality(pipelines) loop ignored := _search_waiting(targets[i].id, pipelines[i], true); end loop;
end $$;
comment on function pgembedd.search_many is
    'Search several pipelines at once: the k best hits of all, each with the name of its pipeline, as the caller.';

-- The hits of the page, and the number of the pipeline of each. As in _search_hits(), no page changes their order.
create or replace function pgembedd_internal._search_many_hits(
    targets pgembedd_internal._search_target[], askings pgembedd_internal._asked[],
    out owners integer[], out hits pgembedd_internal._search_hit[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    skipped constant integer := askings[1].skip;
    wanted constant integer := least(1000, skipped + askings[1].k);
    per_row constant boolean := askings[1].per = 'row';
    fused constant boolean := (select bool_or(a.mode = 'hybrid') from unnest(askings) a);
    depth integer;
begin
    owners := '{}'; hits := '{}';
    foreach depth in array case when fused then '{60,240,1000}' else '{10,20,50,100,250,1000}' end::integer[] loop
        select owners || coalesce(array_agg(l.owner order by l.place), '{}'),
               hits || coalesce(array_agg(l.hit order by l.place), '{}')
        into owners, hits
        from (select l.* from _search_many_list(targets, askings, depth) l
              where not exists (
                  select from generate_subscripts(hits, 1) i
                  where owners[i] = l.owner and (hits[i]).key = (l.hit).key
                    and (per_row or (hits[i]).chunk_index is not distinct from (l.hit).chunk_index))
              order by l.place limit depth - cardinality(hits)) l;
        exit when cardinality(hits) < depth or cardinality(hits) >= wanted;
    end loop;
    owners := owners[skipped + 1:wanted];
    hits := hits[skipped + 1:wanted];
end $$;

-- The lists of all pipelines to that depth, in one order.
create or replace function pgembedd_internal._search_many_list(
    targets pgembedd_internal._search_target[], askings pgembedd_internal._asked[], depth integer
) returns table (owner integer, hit pgembedd_internal._search_hit, place bigint)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    one constant pgembedd_internal._asked := askings[1];
    -- Vectors of one model, compared by one distance.
    alike constant boolean := (select count(distinct (t.model, t.distance)) = 1 from unnest(targets) t);
begin
    for i in 1 .. cardinality(targets) loop askings[i].wanted := depth; end loop;
    return query
        with found as materialized (
            select p.owner, h.key, h.chunk_index, h.similarity, h.score, r.semantic_rank, h.text_rank, h.held, h.nth,
                   case when alike and r.semantic_rank is not null then row_number() over (
                            partition by r.semantic_rank is null order by h.similarity desc, p.owner, r.semantic_rank)
                        else r.semantic_rank end as meaning
            from generate_subscripts(targets, 1) as p(owner)
            cross join lateral unnest(_search_list(targets[p.owner], askings[p.owner])) with ordinality
                 as h(key, chunk_index, similarity, score, semantic_rank, text_rank, held, nth)
            cross join lateral (select case when askings[p.owner].mode = 'semantic' then h.nth
                                            else h.semantic_rank end as semantic_rank) r
            where askings[p.owner].mode <> 'semantic' or h.nth <= depth),  -- an exact one may be longer
        scored as (
            select f.*, coalesce(one.semantic_weight / (one.rrf_k + f.meaning), 0)
                   + case when f.text_rank is null then 0
                          when one.mode = 'text' then one.text_weight / (one.rrf_k + f.text_rank)
                          -- What its words counted there: less where it has few of the query's.
                          else f.score - coalesce(one.semantic_weight / (one.rrf_k + f.semantic_rank), 0) end as sum
            from found f)
        select s.owner, row (s.key, s.chunk_index, s.similarity, s.sum, s.semantic_rank, s.text_rank, s.held)
               ::pgembedd_internal._search_hit,
               row_number() over (order by s.sum desc, s.similarity desc nulls last, s.owner, s.nth)
        from scored s;
end $$;
