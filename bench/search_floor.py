"""What a function can reach: search()'s signature and result around the statement by hand, and more and more checks.

The statement by hand knows the table and the filter's SQL, and whoever sends it has set pgvector's settings and knows
which way is quick. A function in PL/pgSQL that is called by the pipeline's name, with a filter as data, has to find
that out in each call. Here one does nothing else; then one checks the rights and looks the pipeline up as well, before
and after the scan; then one asks the planner for the number of matches, too. What search() takes beyond the last is
what its other promises cost: options, pages, complete answers, a row cut to 32 KB.
"""

from collections.abc import Iterator, Sequence
from statistics import median

import psycopg

from bench.report import Result, percentiles, timed
from bench.search_statements import BY_HAND, NEAREST, ORDER, OURS, STATEMENTS

ROUNDS = 5
SETTINGS = "hnsw.iterative_scan", "hnsw.ef_search"
FUNCTION, CHECKED, PLANNED = "a function", "a function, checked", "a function, checked and planned"
HELPERS = """
    create or replace function least_lookup(name text) returns bigint language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp as $$
    begin
        return (select p.id from pgembedd_internal.pipeline p where p.name = $1);
    end $$;
    -- Volatile, as only such may EXPLAIN.
    create or replace function least_expected(condition text) returns double precision language plpgsql
    set search_path = pg_catalog, pg_temp as $$
    declare
        plan json;
    begin
        execute 'explain (format json) select from public.items i where ' || condition into plan;
        return plan -> 0 -> 'Plan' ->> 'Plan Rows';
    end $$
"""
CHECKS = """
    if not has_schema_privilege('public', 'usage') or not has_table_privilege('public.items', 'select')
       or k not between 1 and 1000 or public.least_lookup(pipeline) is null then
        raise exception 'refused' using errcode = 'insufficient_privilege';
    end if;
"""
CHECKS_AFTER = """
    if public.least_lookup(pipeline) is null then
        raise exception 'gone' using errcode = 'serialization_failure';
    end if;
"""
ASKS_PLANNER = """
    if condition is not null and public.least_expected(condition) < 1 then
        raise exception 'unexpected' using errcode = 'internal_error';
    end if;
"""
HITS = """
    select to_jsonb(i.id), null::int, 1 - i.distance, 1 - i.distance, row_number() over ()::int, null::int,
           left(i.body, 200), to_jsonb(i) - 'embedding' - 'distance', null::jsonb
    from (select i.*, i.embedding operator(public.<=>) {vector}::public.halfvec as distance from public.items i {where}
          order by i.embedding operator(public.<=>) {vector}::public.halfvec limit 10) i
"""
LEAST = """
    create or replace function least_{number}(
        pipeline text, query text, k integer default 10, filter jsonb default null, skip integer default 0,
        mode text default 'hybrid', min_similarity double precision default null, per text default 'row',
        embedding vector default null, options jsonb default '{{}}')
    returns table (key jsonb, chunk_index integer, score double precision, similarity double precision,
                   semantic_rank integer, text_rank integer, snippet text, record jsonb, place jsonb)
    language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp set extra_float_digits = '1' as $$
    #variable_conflict use_variable
    declare
        condition text;
        before constant text[] := array[current_setting('hnsw.iterative_scan', true),
                                        current_setting('hnsw.ef_search', true)];
        ignored text;
    begin
        {checks}
        condition := (select string_agg(format('i.%I < %L', m.key, m.value ->> '$lt'), ' and ')
                      from jsonb_each(filter) m);
        {planner}
        ignored := set_config('hnsw.iterative_scan', 'relaxed_order', true);
        ignored := set_config('hnsw.ef_search', '{ef_search}', true);
        if condition is null then
            return query {hits};
        else
            return query execute {filtered} using embedding;
        end if;
        ignored := set_config('hnsw.iterative_scan', before[1], true);
        ignored := set_config('hnsw.ef_search', before[2], true);
        {checks_after}
    end $$
"""
LEVELS = {FUNCTION: ("", "", ""), CHECKED: (CHECKS, "", CHECKS_AFTER), PLANNED: (CHECKS, ASKS_PLANNER, CHECKS_AFTER)}


def floor(
    connection: psycopg.Connection, case: str, values: Sequence[dict[str, object]], ef_search: str
) -> Iterator[Result]:
    """The milliseconds by hand, of these functions and of search() by meaning, each question in turn."""
    calls = _functions(connection, ef_search) | {OURS: STATEMENTS[OURS]}
    seconds: dict[str, list[float]] = {name: [] for name in (BY_HAND, *calls)}
    for number in range(-1, ROUNDS):  # the first warms up
        for each in values:
            took = {BY_HAND: _by_hand(connection, each, ef_search)}
            took |= {name: _asked(connection, call, each) for name, call in calls.items()}
            for name, once in took.items():
                if number >= 0:
                    seconds[name].append(once)
    by_hand = median(seconds[BY_HAND])
    for name, taken in seconds.items():
        cut = percentiles([1000 * one for one in taken], 5, 50, 95)
        compared = (f"{case}, {BY_HAND}", median(taken) / by_hand) if name != BY_HAND else (None, None)
        yield Result("search", f"{case}, {name}", cut["p50"], "ms", (cut["p5"], cut["p95"]), *compared)


def _functions(connection: psycopg.Connection, ef_search: str) -> dict[str, str]:
    """Makes them, and returns how each is called."""
    connection.execute(HELPERS.encode())
    filtered = HITS.format(vector="$1", where="where %s")
    calls = {}
    for number, (name, (checks, planner, after)) in enumerate(LEVELS.items()):
        made = LEAST.format(
            number=number, checks=checks, planner=planner, checks_after=after, ef_search=ef_search,
            hits=HITS.format(vector="embedding", where=""), filtered=f"format($q${filtered}$q$, condition)",
        )  # fmt: skip
        connection.execute(made.encode())
        calls[name] = STATEMENTS[OURS].replace("pgembedd.search(", f"least_{number}(")
    return calls


def _by_hand(connection: psycopg.Connection, each: dict[str, object], ef_search: str) -> float:
    statement = NEAREST.format(column=each["column"], order=ORDER)
    for setting, chosen in zip(SETTINGS, ("relaxed_order", ef_search), strict=True):
        connection.execute("select set_config(%s, %s, false)", (setting, chosen))
    took = _asked(connection, statement, each)
    for setting in SETTINGS:
        connection.execute(f"reset {setting}".encode())
    return took


def _asked(connection: psycopg.Connection, statement: str, values: dict[str, object]) -> float:
    return timed(lambda: connection.execute(statement.encode(), values).fetchall())
