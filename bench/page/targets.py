"""The figures that a release is held to, as data: a limit, and how each is computed from the results of one run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import ge, le, sub, truediv
from statistics import median

from bench.page.results import Run
from bench.result import TIMES, amount

Formula = Callable[[Run], float]
"""A figure of a run. LookupError where the run lacks what it takes."""

SENSES = {"≥": ge, "≤": le}
NDCG_SHARE, MEAN_COSINE, WORST_COSINE = 0.995, 0.999, 0.99
"""The quality gate of a precision: the least nDCG@10 as a share of fp32's, and the least cosines to fp32."""


@dataclass(frozen=True)
class Target:
    """`asked` is a sense, a limit and a unit, as in `≥ 0.9 x`; x stands for times."""

    bench: str
    name: str
    asked: str
    measured: Formula

    def shown(self, figure: float) -> str:
        """The figure, and whether it misses the limit."""
        sense, limit, unit = self.asked.split(" ", 2)
        return amount(figure, TIMES if unit == "x" else unit) + (
            "" if SENSES[sense](figure, float(limit)) else ", **missed**"
        )


def judge(target: Target, runs: Sequence[Run]) -> float | None:
    """The worst figure of the runs that measured it; None where none has."""
    figures = []
    for run in runs:
        try:
            figures += [target.measured(run)] if run.bench == target.bench else []
        except LookupError:
            continue
    return (min if target.asked.startswith("≥") else max)(figures, default=None)


def only(case: str, pick: Callable[[list[float]], float] = max) -> Formula:
    """The value of a case; of several the one to pick."""
    return lambda run: pick([each.value for each in run.matching(case)])


def over(ours: str, theirs: str, pick: Callable[[list[float]], float] = max) -> Formula:
    """The value of a case divided by that of another."""
    return lambda run: only(ours, pick)(run) / only(theirs)(run)


def ratio(case: str, pick: Callable[[list[float]], float] = max) -> Formula:
    """The ratio of a case to the one that it is compared with; of several the one to pick."""
    return lambda run: pick([each.ratio or 0.0 for each in run.matching(case)])


def speed(precision: str, peers: str, *, faithful: bool = False) -> Formula:
    """Our speed at a precision against the fastest peer whose case matches; among those as exact as the gate asks."""

    def measured(run: Run) -> float:
        near = {each.case for each in run.matching(".*", "cosine") if each.value >= MEAN_COSINE or not faithful}
        chosen = [each for each in run.matching(peers, "texts/s") if each.case in near]
        if not chosen:
            raise LookupError(f"{run.name} has no such peer.")
        (ours,) = run.matching(f"pgembedd, {precision}", "texts/s")
        return (ours.ratio or 1.0) / max(each.ratio or 1.0 for each in chosen)

    return measured


def like_fp32(precision: str, case: str) -> Formula:
    """The value of a case of `bench.quality`, of a run that compares this precision."""

    def measured(run: Run) -> float:
        run.matching(f"nDCG@10, {precision}")
        return run.value(case)

    return measured


def commit_to_vector(run: Run) -> float:
    """The median wait for a vector, as a share of three bare embeddings of the same text and 10 ms."""
    return run.value("commit to vector, idle, p50") / (3 * run.value("one embedding, bare, p50") + 0.010)


def start(run: Run) -> float:
    """The time to the first vector, as a share of 0.7 s, or of 1.3 times a bare script's if that is more."""
    return run.value("worker, start to vector stored") / max(0.7, 1.3 * run.value("bare script, start to vector"))


def in_sql(case: str) -> Formula:
    """How much longer a case with a question inside SQL takes than the bare model."""
    return lambda run: run.value(case) - run.value("one question, bare, p50")


def end_to_end(case: str) -> Formula:
    """The lowest rate of such cases of `bench.pipeline` as a share of the bare model's."""
    return over(f"end to end, {case}", "model alone", min)


def like_by_hand(case: str, size: str) -> Formula:
    """The rate of such a case of `bench.pipeline` as a share of the same by hand, with the index where that is less."""
    hand = f"end to end, by hand, {size} at a time"
    shares = [over(f"end to end, {case}{index}", f"{hand}, {index}") for index in INDEXES]
    return lambda run: min(share(run) for share in shares)


def carried(words: str, by_hand: str) -> Formula:
    """The time of a row by a worker as a multiple of what it takes by hand."""
    return over(f"{WORKER}, {words}, by the clock", f"{by_hand}, {words}, by the clock")


def searched(
    cases: str, figure: Callable[[float, float], float], *, long: bool, pick: Callable[[list[float]], float] = max
) -> Formula:
    """The worst figure of these searches and the same by hand, of those that take 5 ms by hand, or of the others.

    With another `pick`, that figure.
    """

    def measured(run: Run) -> float:
        times = [(each.value, each.value / (each.ratio or 1.0)) for each in run.matching(f"{cases}, p50")]
        figures = [figure(ours, by_hand) for ours, by_hand in times if (by_hand >= LONG_MS) == long]
        if not figures:
            raise LookupError(f"{run.name} has no such search.")
        return pick(figures)

    return measured


def of_one_statement(mode: str = "", *, at_least_ms: float = 0.0) -> Formula:
    """The worst ratio of a filtered search to one statement by hand for all filters that keep as many rows.

    Of the two by hand, by index and past it, it is the one that finds enough wherever the matches lie, and is quicker.
    """

    def measured(run: Run) -> float:
        ratios: list[float] = []
        for near in run.matching(rf"{FILTERED}, p50".replace(PLACES, "near")):
            cases = [near.case.removesuffix(", search(), p50").replace("near", place) for place in PLACES.split("|")]
            ours, by_index, exactly = (
                [run.value(re.escape(f"{case}, {way}, p50")) for case in cases]
                for way in (f"search(){mode}", f"{BY_HAND}{mode}, index", f"{BY_HAND}{mode}, exact")
            )
            found = [run.value(re.escape(f"recall@10, {case}, {BY_HAND}, index")) for case in cases]
            best = by_index if min(found) >= ENOUGH and sum(by_index) < sum(exactly) else exactly
            ratios += [one / hand for one, hand in zip(ours, best, strict=True) if hand >= at_least_ms]
        return max(ratios)

    return measured


LONG_MS, ENOUGH = 5.0, 0.95
INDEXES = ("no index", "HNSW index")
INT8, EXACT = (rf"(?!pgembedd)(?{sign}.*\bint8\b).*, best settings" for sign in "=!")
SENTENCE = "sentence-transformers, defaults"
ON_CUDA = "fp16 on CUDA"
BUSY = "commit to vector, under backfill"
INSERTS, OTHER = "insert of 100000 rows of 1 KB", "update of another column"
THERE = f"{OTHER}, vector there"
QUEUED, SHALLOW = r"null model, [\d,]+ queued", "null model, 1,000 queued"
SEARCH_IN_SQL = r"search with embed\(\) as a subquery, p50"
LIMIT = "16 texts a request, what the limits allow"
WHOLE = r"\d+ rows.*, 100 %, search\(\)"
PLACES = "independent|near|far"
FILTERED = rf"\d+ rows.*, ({PLACES})(, indexed)?, search\(\)"
BY_HAND, CHECKED, WORKER = "by hand", "by hand and checked", "1 worker"

CHIEF = (
    Target("embed", "fp32, against fastembed at its defaults", "≥ 5.5 x", speed("fp32", "fastembed, defaults")),
    Target("embed", "fp32, against the best tuned peer", "≥ 1 x", speed("fp32", EXACT)),
    Target("embed", "int8, against fastembed at its defaults", "≥ 10 x", speed("int8", "fastembed, defaults")),
    Target("embed", "int8, against the best tuned peer as faithful", "≥ 1 x", speed("int8", INT8, faithful=True)),
    Target("embed", "int8, against pgembedd at fp32", "≥ 1 x", speed("int8", "pgembedd, fp32")),
    Target("quality", "int8, nDCG@10 against fp32", f"≥ {NDCG_SHARE} x", over("nDCG@10, int8", "nDCG@10, fp32")),
    Target("roofline", "fp32, share of the multiplication peak", "≥ 65 %", only("pgembedd, fp32, of the peak")),
    Target("pipeline", "inserted rows, share of the bare model's rate", "≥ 0.9 x", end_to_end("(no|HNSW) index")),
    Target("pipeline", "a backfill without an index, the same", "≥ 0.95 x", end_to_end("backfill, no index")),
    Target("pipeline", "a backfill with an HNSW index, the same", "≥ 0.92 x", end_to_end("backfill, HNSW index")),
    Target("pipeline", "inserted rows, against the same by hand", "≥ 0.95 x", like_by_hand("", r"0\.25 s")),
    Target("pipeline", "a backfill, against the same by hand", "≥ 0.95 x", like_by_hand("backfill, ", "256 texts")),
    Target("latency", "commit to vector, share of 3 embeddings + 10 ms", "≤ 1 x", commit_to_vector),
    Target("latency", "commit to vector under a backfill, p50", "≤ 0.05 s", only(f"{BUSY}, p50")),
    Target("latency", "the same, p95", "≤ 0.1 s", only(f"{BUSY}, p95")),
    Target("latency", "the same, p99 against p95", "≤ 2 x", over(f"{BUSY}, p99", f"{BUSY}, p95")),
    Target("latency", "all texts while some change, share of a backfill's rate", "≥ 0.95 x", only("rate of .*")),
    Target("sql_embed", "embed() in SQL, beyond the bare model", "≤ 0.003 s", in_sql(r"embed\(\) in SQL, p50")),
    Target("sql_embed", "a search with embed(), beyond the bare model", "≤ 0.005 s", in_sql(SEARCH_IN_SQL)),
    Target("soak", "peak memory of a worker, fp32", "≤ 450 MB", only("fp32, peak")),
    Target(
        "triggers", "bulk insert, against a bare table", "≤ 2.5 x", over(f"{INSERTS}, pipeline", f"{INSERTS}, bare")
    ),
    Target("providers", "through a provider, share of its limits", "≥ 0.9 x", over("16 texts a request", LIMIT)),
    Target("search", "by meaning, beyond by hand, of less than 5 ms", "≤ 0.6 ms", searched(WHOLE, sub, long=False)),
    Target("search", "by meaning, against by hand, of 5 ms or more", "≤ 1.3 x", searched(WHOLE, truediv, long=True)),
    Target(
        "search",
        "with a filter, median beyond by hand, of less than 5 ms",
        "≤ 1 ms",
        searched(FILTERED, sub, long=False, pick=median),
    ),
    Target(
        "search",
        "with a filter, worst beyond by hand, of less than 5 ms",
        "≤ 1 ms",
        searched(FILTERED, sub, long=False),
    ),
    Target(
        "search",
        "with a filter, worst against by hand, of 5 ms or more",
        "≤ 1.3 x",
        searched(FILTERED, truediv, long=True),
    ),
    Target("search", "hybrid, worst against by hand", "≤ 1.5 x", ratio(r".*, search\(\), hybrid, p50")),
    Target(
        "search",
        "with a filter, worst against one statement for near and far, of 5 ms or more",
        "≤ 1.3 x",
        of_one_statement(at_least_ms=LONG_MS),
    ),
    Target("search", "hybrid, worst against one statement for near and far", "≤ 1.5 x", of_one_statement(", hybrid")),
    Target("carry", "a row with words, against by hand", "≤ 1.5 x", carried("with words", BY_HAND)),
    Target("carry", "a row without words, the same", "≤ 1.5 x", carried("no words", BY_HAND)),
    Target("carry", "a row without words, against by hand and checked", "≤ 1.5 x", carried("no words", CHECKED)),
)
"""Shown on the page, and with all others next to the results."""

TARGETS = (
    *CHIEF,
    Target("embed", "fp32, against sentence-transformers at its defaults", "≥ 2.8 x", speed("fp32", SENTENCE)),
    Target("embed", "int8, against sentence-transformers at its defaults", "≥ 5 x", speed("int8", SENTENCE)),
    Target("embed", "int8, against the best tuned peer at int8", "≥ 1 x", speed("int8", INT8)),
    Target(
        "gpu", "fp16, against sentence-transformers at fp16", "≥ 1 x",
        lambda run: run.value(f"pgembedd, {ON_CUDA}", "texts/s") / run.value(f"sentence-transformers, {ON_CUDA}"),
    ),
    *(
        Target("quality", f"{precision}, {rank} cosine of documents", f"≥ {least} cosine",
               like_fp32(precision, f"documents, {rank}"))
        for precision in ("int8", "fp16")
        for rank, least in (("mean", MEAN_COSINE), ("worst", WORST_COSINE))
    ),
    Target("quality", "fp16, nDCG@10 against fp32", f"≥ {NDCG_SHARE} x", over("nDCG@10, fp16", "nDCG@10, fp32")),
    Target("roofline", "int8, share of the multiplication peak", "≥ 45 %", only("pgembedd, int8, of the peak")),
    Target("pipeline", "null model, without an index", "≥ 5000 rows/s", only(r"null model, \d+ workers?")),
    Target("pipeline", "null model, a row at the dearest depth of the queue", "≤ 1.2 x", over(QUEUED, SHALLOW)),
    Target("latency", "process start to first vector, share of 0.7 s or 1.3 bare scripts", "≤ 1 x", start),
    Target("soak", "peak memory of a worker, int8", "≤ 300 MB", only("int8, peak")),
    *(
        Target("soak", f"memory in the last quarter against the second, {precision}", "≤ 1.05 x",
               over(f"{precision}, last quarter", f"{precision}, second quarter"))
        for precision in ("fp32", "int8")
    ),
    Target("triggers", "update of an unrelated column, beyond a bare one", "≤ 10 us",
           lambda run: run.value(f"{OTHER}, in a loop, pipeline") - run.value(f"{OTHER}, in a loop, bare")),
    Target("fleet", "statements of an idle worker", "≤ 1.05 1/s", only("statements a second when idle, 1")),
    Target("fleet", "WAL of an idle worker in a minute", "≤ 10 KB", only("WAL of a minute when idle, 1")),
    *(
        Target("triggers", name, asked, over(f"{case}, pipeline", f"{case}, {base}"))
        for name, asked, case, base in (
            ("single insert", "≤ 1.3 x", "insert of one row", "bare"),
            ("update of an unrelated column, row without a vector", "≤ 1.1 x", OTHER, "bare"),
            ("update of an unrelated column, row with a vector", "≤ 1.1 x", THERE, "bare"),
            ("update of an unrelated column, the triggers alone", "≤ 1.1 x", THERE, "columns"),
        )
    ),
    Target("generation", "processor time of a delta", "≤ 0.0002 s", only("worker, 1 answer, CPU a delta")),
    Target("generation", "from a question to its first delta", "≤ 0.05 s", only(r"worker, first delta after ask\(\)")),
    Target("search", "lowest recall@10", "≥ 0.95 recall@10", only(r"recall@10, .*, search\(\)", min)),
    Target("search", "lowest completeness", "≥ 1 completeness", only(r"completeness, .*, search\(\)", min)),
    Target("search", "16 clients, p99 against p50", "≤ 4 x", ratio(r".*, 16 clients, search\(\), p99")),
    Target("answers", "processor time of a delta, one viewer", "≤ 0.0002 s", only("1 viewer, CPU a delta")),
    Target("answers", "processor time of a delta, each of 50 viewers", "≤ 0.0002 s",
           only("50 viewers of 1 answer, CPU a delta")),
    Target("answers", "the end of an answer, for each of 1,000 viewers", "≤ 0.0003 s",
           only("1,000 viewers of 1 answer, end, a viewer")),
)  # fmt: skip
