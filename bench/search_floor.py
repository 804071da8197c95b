"""What any function takes: search()'s signature and result around the statement by hand, and what no search leaves out.

The statement by hand knows the table and the filter's SQL, and whoever sends it has set pgvector's settings. A function
in PL/pgSQL that is called by the pipeline's name, with a filter as data, has to check the rights, look the pipeline up,
before and after the scan, put the filter together, and ask the planner for the number of matches. This one does nothing
else. There is one for each path, so that what it takes to choose one well is not in it; and by both legs, with the
words of the query and how rare they are, around the statement by hand that fuses two lists. What search() takes beyond
it is what its other promises cost: options, pages, the right path, complete answers, a row cut to 32 KB.
"""

from bench.search_statements import FUSED, ORDER, RECORD, SEARCH

LEAST = "least function"
LEAST_BY_INDEX, LEAST_EXACTLY = f"{LEAST}, index", f"{LEAST}, exact"
LEAST_BOTH = f"{LEAST}, hybrid"
LEAST_BOTH_BY_INDEX, LEAST_BOTH_EXACTLY = f"{LEAST_BOTH}, index", f"{LEAST_BOTH}, exact"
HELPERS = """
    create function least_lookup(name text) returns bigint language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp as $$
    begin
        return (select p.id from pgembedd_internal.pipeline p where p.name = $1);
    end $$;
    -- Volatile, as only such may EXPLAIN.
    create function least_expected(condition text) returns double precision language plpgsql
    set search_path = pg_catalog, pg_temp as $$
    declare
        plan json;
    begin
        execute 'explain (format json) select from public.items i where ' || condition into plan;
        return plan -> 0 -> 'Plan' ->> 'Plan Rows';
    end $$;
    -- The words of a query with their weights; of the candidates, which have the rarest of them; the average length.
    create function least_words(pipeline text, query text, out words text[], out idfs float8[], out any_of tsquery,
                                out average float8)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
    begin
        select array_agg(quote_literal(w.lexeme)), array_agg(greatest(-ln(w.share), 0.01)),
               string_agg(quote_literal(w.lexeme), ' | ') filter (where w.rows <= 1000 or w.nth = 1), min(w.length)
        into words, idfs, any_of, average
        from (select u.lexeme, u.share, sum(u.share * u.documents) over o as rows, row_number() over o as nth, u.length
              from (select l.lexeme, s.documents, s.average_length as length,
                           coalesce((select f.share from pgembedd_internal.word_frequency f
                                     where f.pipeline_id = p.id and f.word = l.lexeme), 0.0005) as share
                    from unnest(to_tsvector('english', query)) l, pgembedd_internal.pipeline p
                    join pgembedd_internal.word_statistics s on s.pipeline_id = p.id where p.name = pipeline) u
              window o as (order by u.share, u.lexeme)) w;
    end $$
"""
HITS = f"""
    select to_jsonb(i.id), null::int, 1 - i.distance, 1 - i.distance, row_number() over ()::int, null::int,
           left(i.body, 200), {RECORD}, null::jsonb
    from (select i.*, i.embedding operator(public.<=>) {{vector}}::public.halfvec as distance
          from public.items i {{where}}
          order by (i.embedding operator(public.<=>) {{vector}}::public.halfvec) {{order}} limit 10) i
"""
FUNCTION = """
    create function least_{path}(
        pipeline text, query text, k integer default 10, filter jsonb default null, skip integer default 0,
        mode text default 'hybrid', min_similarity double precision default null, per text default 'row',
        embedding vector default null, options jsonb default '{{}}')
    returns table (key jsonb, chunk_index integer, score double precision, similarity double precision,
                   semantic_rank integer, text_rank integer, snippet text, record jsonb, place jsonb)
    language plpgsql stable rows 10 set search_path = pg_catalog, public, pg_temp set extra_float_digits = '1' as $$
    #variable_conflict use_variable
    declare
        condition text;
        w record;
        before constant text[] := array[current_setting('hnsw.iterative_scan', true),
                                        current_setting('hnsw.ef_search', true)];
        ignored text;
    begin
        if not has_schema_privilege('public', 'usage') or not has_table_privilege('public.items', 'select')
           or k not between 1 and 1000 or public.least_lookup(pipeline) is null then
            raise exception 'refused' using errcode = 'insufficient_privilege';
        end if;
        condition := (select string_agg(format('%I < %L', m.key, m.value ->> '$lt'), ' and ')
                      from jsonb_each(filter) m);
        if condition is not null and public.least_expected(condition) < 1 then
            raise exception 'unexpected' using errcode = 'internal_error';
        end if;
        ignored := set_config('hnsw.iterative_scan', 'relaxed_order', true);
        ignored := set_config('hnsw.ef_search', options ->> 'ef_search', true);
        {scan}
        ignored := set_config('hnsw.iterative_scan', before[1], true);
        ignored := set_config('hnsw.ef_search', before[2], true);
        if public.least_lookup(pipeline) is null then
            raise exception 'gone' using errcode = 'serialization_failure';
        end if;
    end $$
"""
OF_ONE_LEG = """
        if condition is null then
            return query {hits};
        else
            return query execute format($q${filtered}$q$, condition) using embedding;
        end if;
"""
OF_BOTH = """
        w := public.least_words(pipeline, query);
        return query execute format($q$
            select f.key, null::int, f.score, f.similarity, null::int, null::int, f.snippet, f.record, null::jsonb
            from ({fused}) f(id, key, similarity, snippet, record, score)$q$, coalesce(condition, 'true'))
        using embedding, w.words, w.idfs, w.any_of, w.average;
"""
PARAMETERS = {"question": 1, "words": 2, "idfs": 3, "any": 4, "average": 5}


def _of_one_leg(order: str) -> str:
    hits = HITS.format(vector="embedding", where="", order=order)
    return OF_ONE_LEG.format(hits=hits, filtered=HITS.format(vector="$1", where="where %s", order=order))


def _of_both(order: str) -> str:
    fused = FUSED.replace("i.{column} < %(below)s", "%1$s").replace("{column} < %(below)s", "%1$s")
    fused = fused.format(order=f"({ORDER}) {order}")
    for name, number in PARAMETERS.items():
        fused = fused.replace(f"%({name})s", f"${number}")
    return OF_BOTH.format(fused=fused)


ORDERS = {"index": "", "exact": "+ 0"}
SCANS = {
    **{f"{LEAST}, {path}": (path, _of_one_leg(order)) for path, order in ORDERS.items()},
    **{f"{LEAST_BOTH}, {path}": (f"both_{path}", _of_both(order)) for path, order in ORDERS.items()},
}
FUNCTIONS = [HELPERS, *(FUNCTION.format(path=path, scan=scan) for path, scan in SCANS.values())]
CALLED = SEARCH.format(mode="semantic").replace(") s", ", options => jsonb_build_object('ef_search', %(ef_search)s)) s")
CALLS = {name: CALLED.replace("pgembedd.search", f"least_{path}") for name, (path, _) in SCANS.items()}
