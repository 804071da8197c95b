-- One search over several pipelines. The k best of each are put in one order by reciprocal rank: by meaning, in the
-- order of the similarities where all have the same model and distance, else each in its own order, as words are.
create or replace function pgembedd.search_many(
    pipelines text[],
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'hybrid',
    per text default 'row',
    min_similarity double precision default null,
    snippet_length integer default 200,
    weights double precision[] default '{1,1}',
    rrf_k integer default 60,
    marks text[] default '{**,**}'
) returns table (
    pipeline text, key jsonb, chunk_index integer, score double precision, similarity double precision,
    semantic_rank integer, text_rank integer, snippet text, "row" jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    alike boolean;  -- vectors of one model, compared by one distance
    remedy text;
    ignored text;
begin
    ignored := _check_members('pipelines', pipelines);
    if pipelines is null or cardinality(pipelines) not between 1 and 20 or array_ndims(pipelines) <> 1
       or (select count(distinct p) from unnest(pipelines) p) <> cardinality(pipelines) then
        raise exception using message = format('The pipelines %L cannot be searched at once.', pipelines),
            hint = 'Name one to twenty different ones: for example array[''articles'', ''tickets''].',
            errcode = 'invalid_parameter_value';
    end if;
    alike := (select count(distinct (t.model, t.distance)) = 1
              from unnest(pipelines) p cross join lateral _search_target(p, null, false) t);
    return query
        with found as materialized (
            select p.name, h.*, h.score as own_score,
                   case when alike and h.semantic_rank is not null then row_number() over (
                            partition by h.semantic_rank is null order by h.similarity desc, p.nth, h.semantic_rank)
                        else h.semantic_rank end as meaning
            from unnest(pipelines) with ordinality as p(name, nth)
            cross join lateral search(
                p.name, query, k, filter, mode, per, min_similarity, snippet_length, null, weights, rrf_k,
                marks => marks) h)
        select f.name, f.key, f.chunk_index,
               coalesce(weights[1] / (rrf_k + f.meaning), 0)
               + case when f.text_rank is null then 0 when mode = 'text' then weights[2] / (rrf_k + f.text_rank)
                      -- What its words counted there: less where it has few of the query's.
                      else f.own_score - coalesce(weights[1] / (rrf_k + f.semantic_rank), 0) end as sum,
               f.similarity, f.semantic_rank, f.text_rank, f.snippet, f."row"
        from found f
        order by sum desc, f.similarity desc nulls last, array_position(pipelines, f.name), f.own_score desc
        limit greatest(k, 1);  -- search() refuses less, and is not called where no hit is wanted
exception when invalid_parameter_value or insufficient_privilege or object_not_in_prerequisite_state or undefined_object
        or undefined_column or datatype_mismatch or program_limit_exceeded or insufficient_resources then
    get stacked diagnostics remedy = pg_exception_hint;
    if remedy = '' then raise; end if;
    raise exception using message = sqlerrm, errcode = sqlstate, hint = remedy;  -- without the statement above
end $$;
comment on function pgembedd.search_many is
    'Search several pipelines at once: the k best hits of all, each with the name of its pipeline, as the caller.';
