-- Volatile, as only such may EXPLAIN; the statements of a search run as the caller here, too.
create or replace function pgembedd.explain_search(
    pipeline text,
    query text,
    k integer default 10,
    filter jsonb default null,
    skip integer default 0,
    mode text default 'hybrid',
    min_similarity double precision default null,
    per text default 'row',
    embedding @extschema:vector@.vector default null,
    with_hits boolean default false,
    options jsonb default '{}'
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_variable
declare
    target pgembedd_internal._search_target;
    asked pgembedd_internal._asked;
    hidden boolean;
    plan jsonb;
begin
    target := _search_target(pipeline, null);
    select query, k, filter, skip, mode, min_similarity, per, embedding
    into asked.query, asked.k, asked.filter, asked.skip, asked.mode, asked.min_similarity, asked.per, asked.embedding;
    asked := _asked(target, _search_with_options(asked, options, _search_options()));
    if asked.mode <> 'text' then
        asked.embedding := coalesce(embedding, embed(asked.plain, pipeline => target.name));
    end if;
    asked.wanted := (  -- of the longest list
        select max(d) from unnest(_search_depths(asked.mode, least(1000, asked.skip + asked.k))) d);
    if asked.filtered then asked := _search_expected(target, asked); end if;
    hidden := row_security_active(target.source);
    plan := jsonb_build_object('pipeline', target.name, 'mode', asked.mode, 'k', k, 'skip', asked.skip, 'per', per,
        'filter', asked.condition, 'row_security', hidden or row_security_active(target.vectors),
        'waiting', _search_waiting(target.id, target.name),
        'semantic', case when asked.mode <> 'text' then _explain_nearest(target, asked) end,
        'text', case when asked.mode <> 'semantic' then _explain_words(target, asked) end);
    if hidden then  -- from the caller, and so is what depends on the rows that policies hide
        plan := plan || jsonb_build_object(
            'semantic', nullif(plan -> 'semantic', 'null') ||
                '{"path": null, "index": null, "ef_search": null, "iterative_scan": null, "candidates": null,
                  "steps": null, "rows_visited": null, "expected_matches": null, "expected_costs": null}',
            'text', nullif(plan -> 'text', 'null') || '{"rows_visited": null}');
    end if;
    return case when with_hits then plan else plan #- '{semantic,hits}' #- '{text,hits}' end;
end $$;
comment on function pgembedd.explain_search is
    'How a search finds what it finds: the path of each leg, the rows it visited, its settings; its list with_hits.';

create or replace function pgembedd_internal._explain_nearest(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    leg record;
    before text[];
    ef_search text;
    iterative_scan text;
    plan json;
    scans jsonb;
begin
    leg := _search_nearest(target, asked);
    target.kept := false;  -- EXPLAIN shows no plan of a function
    before := _search_set(leg.steps[1], leg.visits, leg.graph_rows);
    ef_search := current_setting('hnsw.ef_search', true);
    iterative_scan := current_setting('hnsw.iterative_scan', true);
    execute 'explain (analyze, format json) '
        || _search_statement(target, asked, case leg.path when 'index' then 'index' else 'exact' end, false)
    into plan using asked.embedding, leg.breadth;
    before := _search_set(settings => before);
    scans := _scans_of(plan::jsonb, target.alias);
    if leg.path = 'index' and not jsonb_path_exists(scans, '$[*]."Order By"') then
        leg.path := 'exact';
    end if;
    return jsonb_build_object('path', leg.path,
        'index', jsonb_path_query_first(scans, '$[*] ? (exists(@."Order By"))."Index Name"'),
        'ef_search', ef_search::integer,
        'iterative_scan', case when leg.path <> 'exact' then iterative_scan end,
        'candidates', leg.breadth, 'steps', case when leg.path <> 'exact' then to_jsonb(leg.steps) end,
        'rows_visited', _rows_visited(scans), 'expected_matches', round(asked.matches),
        'expected_costs', (
            select jsonb_build_object('exact', round(coalesce(p.exact_cost, asked.exact_cost)),
                                      'index', round(p.index_cost))
            from _search_path(target, asked, leg.steps) p where asked.matches is not null),
        'hits', (
            select coalesce(jsonb_agg(jsonb_build_object('rank', h.rank, 'key', h.key,
                                                         'chunk_index', h.chunk_index, 'similarity', h.similarity)
                                      order by h.rank), '[]')
            from unnest(leg.hits) with ordinality
                 as h(key, chunk_index, similarity, score, semantic_rank, text_rank, held, rank)));
end $$;

-- The nodes of a plan that read the table of that alias, or one of its partitions.
create or replace function pgembedd_internal._scans_of(plan jsonb, alias text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_agg(node), '[]') from jsonb_path_query(plan, 'strict $.**') node
    where jsonb_typeof(node) = 'object' and node ? 'Relation Name' and node ->> 'Alias' ~ format(E'^%s(_\\d+)?$', alias)
      and node ->> 'Custom Plan Provider' is distinct from 'ChunkAppend'  -- has the name of the hypertable
$$;

create or replace function pgembedd_internal._rows_visited(scans jsonb) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(sum((coalesce((s ->> 'Actual Rows')::numeric, 0)
                         + coalesce((s ->> 'Rows Removed by Filter')::numeric, 0)
                         + coalesce((s ->> 'Rows Removed by Index Recheck')::numeric, 0))
                        * (s ->> 'Actual Loops')::numeric), 0)
    from jsonb_array_elements(scans) s
$$;

create or replace function pgembedd_internal._explain_words(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0 set enable_seqscan = off  -- as _search_words()
as $$
declare
    leg record;
    plan json;
    scans jsonb;
    index jsonb;
    ignored text;
begin
    leg := _search_words(target, asked);
    ignored := _search_words_set(target, asked, leg.way);
    if leg.any_of is not null then
        execute 'explain (analyze, format json) ' || _search_words_statement(target, asked, leg.way)
        into plan using leg.any_of, leg.others, asked.required, leg.most, asked.wanted, asked.lexemes,
            asked.idfs, asked.embedding, asked.min_similarity, asked.average_length;
        scans := _scans_of(plan::jsonb, 'v');
        index := jsonb_path_query_first(scans,
            '$[*].Plans[*] ? (@."Node Type" == "Bitmap Index Scan")."Index Name"');
    end if;
    return jsonb_build_object(
        'path', case when leg.way = 'filter' then 'filter' when index is not null then 'index'
                     when scans is not null then 'scan' else 'none' end,
        'index', index, 'words', asked.words, 'candidates_have', concat_ws(' | ', leg.any_of, leg.others),
        'required', asked.required, 'candidates', leg.candidates[1] + leg.candidates[2],
        'rows_visited', _rows_visited(coalesce(scans, '[]')), 'hits', (
            select coalesce(jsonb_agg(jsonb_build_object('rank', h.text_rank, 'key', h.key,
                                                         'chunk_index', h.chunk_index, 'score', h.score, 'held', h.held)
                                      order by h.text_rank), '[]')
            from unnest(leg.hits) h));
end $$;
