"""The statements that `bench.search` compares: search(), statements by hand, and the SQL that others publish."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

SUBJECTS, DIMS = 8, 384
SECONDS = 5.0  # of each number of clients

BY_INDEX, EXACTLY, BY_HAND = "by hand, index", "by hand, exact", "by hand"
BOTH_BY_INDEX, BOTH_EXACTLY = "by hand, hybrid, index", "by hand, hybrid, exact"
WORDS_BY_HAND, BOTH_BY_HAND = "by hand, text", "by hand, hybrid"
OURS, HYBRID, BY_WORDS = "search()", "search(), hybrid", "search(), text"
AGAIN = {f"{one}, again": one for one in (OURS, HYBRID)}  # the second time in a transaction

COLUMNS = "id", "body", "independent", *(f"near_{n}" for n in range(SUBJECTS))
VALUES = ", ".join(f"'{each}', i.{each}" for each in COLUMNS)
RECORD = f"jsonb_build_object({VALUES})"  # the vector as JSON, to be dropped, takes longer than all of these

ITEMS = f"""
    create table items (id int primary key, body text, {", ".join(f"{each} int" for each in COLUMNS[2:])}) {{3}};
    {{4}};
    select pgembedd.create_pipeline('items', 'items', array['body'], dimensions => {DIMS}, backfill => false,
                                    index_when => 'later', text_config => '{{2}}',
                                    index_options => jsonb_build_object('m', {{0}}, 'ef_construction', {{1}}));
    alter table items disable trigger user;
    create function match_items(question vector, matches int, field text, below int) returns table (id int)
    language plpgsql stable as $$
    begin
        return query execute format(
            'select i.id from items i where i.%I < $1 order by i.embedding <=> $2::halfvec limit $3', field)
        using below, question, matches;
    end $$
"""
PARTITIONED = "partition by hash (id)"
PARTITION = "create table items_{1} partition of items for values with (modulus {0}, remainder {1})"
# What a hit shows, of the ten alone.
SHOWN = f"i.id, to_jsonb(i.id), 1 - (embedding <=> %(question)s::halfvec), {{snippet}}, {RECORD}"
NEAREST = f"""
    select {SHOWN.format(snippet="left(i.body, 200)")}
    from (select * from items where {{column}} < %(below)s order by {{order}} limit 10) i
"""
# What an expert knows of the words, and what search() takes for candidates.
WORDS = """
    select e -> 'words', array(select greatest(-ln(s), 0.01) from unnest((pgembedd_internal._search_shares(1, array(
               select jsonb_array_elements_text(e -> 'words')))).shares) s), e ->> 'candidates_have',
           (select average_length from pgembedd_internal.word_statistics)
    from (select pgembedd.explain_search('items', %(text)s, filter => %(filter)s, mode => 'text') -> 'text') as s(e)
"""
SCORED = """
    select v.id, r.rank / (0.7 + 0.3 * length(v.pgembedd_words) / %(average)s) as score, r.held
    from items_words v join items i on i.id = v.id and i.embedding is not null and i.{column} < %(below)s
    cross join lateral (
        select sum(w.idf * ts_rank('{{0.5,0.5,0.5,1}}', v.pgembedd_words, w.word::tsquery)) as rank,
               sum(w.idf) filter (where v.pgembedd_words @@ w.word::tsquery) / sum(w.idf) as held
        from unnest(%(words)s::text[], %(idfs)s::float8[]) as w(word, idf)) r
    where v.pgembedd_words @@ %(any)s::tsquery order by score desc, v.id limit {limit}
"""
HEADLINE = "ts_headline('english', i.body, %(any)s::tsquery)"
RANKED = f"""
    select {SHOWN.format(snippet=HEADLINE)}, v.score
    from ({SCORED.replace("{limit}", "10")}) v join items i on i.id = v.id order by v.score desc, v.id
"""
# Of the first hits, as many as search() fuses: with lists of ten alone, other rows are the best ten.
FUSED = f"""
    with near as (
        select n.id, row_number() over (order by n.distance) as rank
        from (select id, {{order}} as distance from items where {{column}} < %(below)s order by {{order}} limit 60) n),
    by_words as (
        select w.id, row_number() over (order by w.score desc, w.id) as rank, w.held
        from ({SCORED.replace("{limit}", "60")}) w),
    best as (
        select id, coalesce(1.0 / (60 + n.rank), 0) + coalesce(w.held / (60 + w.rank), 0) as score
        from near n full join by_words w using (id) order by score desc, id limit 10)
    select {SHOWN.format(snippet=HEADLINE)}, b.score from best b join items i using (id) order by b.score desc, i.id
"""
ORDER = "embedding <=> %(question)s::halfvec"
SEARCH = (
    "select key::int, s.* from pgembedd.search('items', %(text)s, k => 10, filter => %(filter)s, mode => '{mode}',"
    " embedding => %(question)s::vector) s"
)
STATEMENTS = {
    OURS: SEARCH.replace("{mode}", "semantic"),
    HYBRID: SEARCH.replace("{mode}", "hybrid"),
    BY_WORDS: SEARCH.replace("{mode}", "text"),
    "match function": "select id from match_items(%(question)s::vector, 10, %(column)s, %(below)s)",
    "filter around a window": f"select id from (select * from items order by {ORDER} limit 10) i"
    " where {column} < %(below)s",
}
EXPLAIN = """
    select e ->> 'path', e ->> 'ef_search' from (select pgembedd.explain_search('items', %(text)s, filter => %(filter)s,
        mode => %(mode)s, embedding => %(question)s::vector) -> 'semantic') as s(e)
"""


def served(conninfo: str, clients: int, statement: str, values: Sequence[dict[str, object]]) -> list[float]:
    """The seconds of each answer to so many clients, each of whom asks again at once, within SECONDS."""

    def client(number: int) -> list[float]:
        seconds: list[float] = []
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement.encode(), values[0]).fetchall()  # a session's first takes longer
            began = now = time.perf_counter()
            while now < began + SECONDS:
                asked, before = values[(number + len(seconds)) % len(values)], now
                connection.execute(statement.encode(), asked).fetchall()
                now = time.perf_counter()
                seconds.append(now - before)
        return seconds

    with ThreadPoolExecutor(clients) as pool:
        return [each for seconds in pool.map(client, range(clients)) for each in seconds]
