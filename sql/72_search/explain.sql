-- Volatile, as only such may EXPLAIN; the statements of a search run as the caller here, too.
create or replace function pgembedd.explain_search(
    pipeline text,
    query text,
    k integer default 10,
    filter jsonb default null,
    mode text default 'hybrid',
    per text default 'row',
    min_similarity double precision default null,
    embedding @extschema:vector@.vector default null,
    with_hits boolean default false
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_variable
declare
    target jsonb;
    condition text;
    included text;
    hidden boolean;
    asked jsonb;
    wanted integer;
    plan jsonb;
    ignored text;
begin
    target := _search_target(pipeline, null);
    ignored := _check_search(target, query, k, mode, per, min_similarity, 0, embedding);
    ignored := _check_search_rights(target);
    hidden := row_security_active((target ->> 'source_oid')::oid);
    mode := _search_mode(target, mode, query);
    condition := _search_filter((target ->> 'source_oid')::oid, filter);
    wanted := _search_window(mode, k, null);
    asked := _search_asked(target, mode, query);
    target := target || coalesce(asked -> 'seen', '{}');
    included := _search_included(target, asked, condition, per = 'row');
    if mode <> 'text' then
        embedding := coalesce(embedding, embed(asked ->> 'plain', pipeline => target ->> 'name'));
    end if;
    plan := jsonb_build_object('pipeline', target ->> 'name', 'mode', mode, 'k', k, 'per', per, 'filter', condition,
        'row_security', hidden or row_security_active((target ->> 'vectors_oid')::oid),
        'waiting', _search_waiting((target ->> 'id')::integer),
        'semantic', case when mode <> 'text' then _explain_nearest(
            target, embedding, wanted, _search_required(target, asked, included), per = 'row', min_similarity)
            || _explain_hidden(hidden, '{path,index,ef_search,iterative_scan,candidates,rows_visited}') end,
        'text', case when mode <> 'semantic' then _explain_words(
            target, asked, wanted, k, included, per = 'row', embedding, min_similarity)
            || _explain_hidden(hidden, '{rows_visited}') end);
    return case when with_hits then plan else plan #- '{semantic,hits}' #- '{text,hits}' end;
end $$;
comment on function pgembedd.explain_search is
    'How a search finds what it finds: the path of each leg, the rows it visited, its settings; its list with_hits.';

-- Nulls for what depends on the rows that policies hide from the caller.
create or replace function pgembedd._explain_hidden(hidden boolean, names text[]) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select coalesce(jsonb_object_agg(n, null), '{}') from unnest(names) n where hidden $$;

create or replace function pgembedd._explain_nearest(
    target jsonb, embedding @extschema:vector@.vector, k integer, filter text, per_row boolean,
    min_similarity double precision
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_ones record;
    before text[];
    ef_search text;
    iterative_scan text;
    plan json;
    scans jsonb;
begin
    found_ones := _search_nearest(target, embedding, k, filter, per_row, min_similarity);
    before := _search_settings(found_ones.breadth, found_ones.visits, found_ones.rows);
    ef_search := current_setting('hnsw.ef_search', true);
    iterative_scan := current_setting('hnsw.iterative_scan', true);
    execute 'explain (analyze, format json) ' || _search_statement(target, filter,
        case found_ones.path when 'index' then 'index' else 'exact' end, per_row and (target -> 'chunked')::boolean)
    into plan using embedding, found_ones.breadth;
    perform _search_restore(before);
    scans := _scans_of(plan::jsonb, case when (target -> 'chunked')::boolean then 'v' else 's' end);
    if found_ones.path = 'index' and not jsonb_path_exists(scans, '$[*]."Order By"') then
        found_ones.path := 'exact';
    end if;
    return jsonb_build_object('path', found_ones.path,
        'index', jsonb_path_query_first(scans, '$[*] ? (exists(@."Order By"))."Index Name"'),
        'ef_search', ef_search::integer,
        'iterative_scan', case when found_ones.path <> 'exact' then iterative_scan end,
        'candidates', found_ones.breadth, 'rows_visited', _rows_visited(scans),
        'hits', (
            select coalesce(jsonb_agg(jsonb_build_object('rank', h.nth, 'key', h.key, 'chunk_no', h.chunk_no,
                       'similarity', h.similarity) order by h.nth), '[]')
            from unnest(found_ones.keys, found_ones.chunk_nos, found_ones.similarities)
                with ordinality as h(key, chunk_no, similarity, nth)));
end $$;

-- The nodes of a plan that read the table of that alias, or one of its partitions.
create or replace function pgembedd._scans_of(plan jsonb, alias text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_agg(node), '[]') from jsonb_path_query(plan, 'strict $.**') node
    where jsonb_typeof(node) = 'object' and node ? 'Relation Name' and node ->> 'Alias' ~ format(E'^%s(_\\d+)?$', alias)
$$;

create or replace function pgembedd._rows_visited(scans jsonb) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(sum((coalesce((s ->> 'Actual Rows')::numeric, 0)
                         + coalesce((s ->> 'Rows Removed by Filter')::numeric, 0)
                         + coalesce((s ->> 'Rows Removed by Index Recheck')::numeric, 0))
                        * (s ->> 'Actual Loops')::numeric), 0)
    from jsonb_array_elements(scans) s
$$;

create or replace function pgembedd._explain_words(
    target jsonb, asked jsonb, wanted integer, enough integer, filter text, per_row boolean,
    embedding @extschema:vector@.vector, min_similarity double precision
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_ones record;
    words constant text[] := array(select jsonb_array_elements_text(asked -> 'words'));
    plan json;
    scans jsonb;
    index jsonb;
begin
    found_ones := _search_words(target, asked, wanted, enough, filter, per_row, embedding, min_similarity);
    if found_ones.any_of is not null then
        execute 'explain (analyze, format json) '
            || _search_words_statement(target, filter, cardinality(words), found_ones.others is not null, per_row,
                                       min_similarity is not null)
        into plan using found_ones.any_of, (asked ->> 'required')::tsquery, found_ones.most, wanted,
            _search_each(words),
            _search_weights(array(select s::float8 from jsonb_array_elements_text(asked -> 'shares') s)),
            embedding, min_similarity, found_ones.others;
        scans := _scans_of(plan::jsonb, 'v');
        index := jsonb_path_query_first(scans,
            '$[*].Plans[*] ? (@."Node Type" == "Bitmap Index Scan")."Index Name"');
    end if;
    return jsonb_build_object(
        'path', case when index is not null then 'index' when scans is not null then 'scan' else 'none' end,
        'index', index,
        'words', asked -> 'words', 'candidates_have', concat_ws(' | ', found_ones.any_of, found_ones.others),
        'required', asked ->> 'required', 'candidates', found_ones.candidates[1] + found_ones.candidates[2],
        'rows_visited', _rows_visited(coalesce(scans, '[]')),
        'hits', (
            select coalesce(jsonb_agg(jsonb_build_object('rank', h.nth, 'key', h.key, 'chunk_no', h.chunk_no,
                       'score', h.score, 'held', h.held) order by h.nth), '[]')
            from unnest(found_ones.keys, found_ones.chunk_nos, found_ones.scores, found_ones.held)
                with ordinality as h(key, chunk_no, score, held, nth)));
end $$;
