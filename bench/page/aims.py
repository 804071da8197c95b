"""The targets: what a release is held to, and how each figure is computed."""

import re

from bench.page.figures import TIMES
from bench.page.results import Run
from bench.page.targets import Formula, Target, computed, constant, highest, lowest, only, quotient, relative

INSERTS = r"insert of 100000 rows of 1 KB"


def _writers(name: str, case: str, limit: float) -> Target:
    """A statement on a table with a pipeline against the same without."""
    measured = quotient(only(f"{case}, pipeline", "s"), only(f"{case}, bare", "s"))
    return Target("triggers", name, "at most", constant(limit), measured, TIMES)


QUEUED = r"null model, [\d,]+ queued"

PIPELINE = (
    Target(
        "pipeline",
        "end to end, share of the bare model's rate",
        "at least",
        constant(0.9),
        quotient(lowest(r"end to end, .*", "texts/s"), only("model alone", "texts/s")),
        TIMES,
    ),
    Target(
        "pipeline",
        "null model, without an index",
        "at least",
        constant(5000),
        highest(r"null model, \d+ workers?", "rows/s"),
        "rows/s",
    ),
    Target(
        "pipeline",
        "null model, a row at the dearest depth of the queue up to a million, against a thousand",
        "at most",
        constant(1.2),
        computed(
            lambda dearest, at_a_thousand, _: dearest / at_a_thousand,
            highest(QUEUED),
            only("null model, 1,000 queued"),
            only("null model, 1,000,000 queued"),
        ),
        TIMES,
    ),
)

EXACT_PEERS = r"(?!pgembedd)(?!.*\bint8\b).*, best settings"
INT8_PEERS = r"(?!pgembedd).*\bint8\b.*, best settings"
NDCG_SHARE, MEAN_COSINE, WORST_COSINE = 0.995, 0.999, 0.99
"""The quality gate of a precision: the least nDCG@10 as a share of fp32's, and the least cosines to fp32."""


def _faithful(run: Run, case: str) -> bool:
    """Whether its vectors pass the gate for the mean cosine; they were compared on the bench's own texts."""
    return any(line.value >= MEAN_COSINE for line, _ in run.matching(re.escape(case), "cosine"))


def _speed(name: str, precision: str, peers: Formula, limit: float) -> Target:
    """Ours against the fastest of the peers."""
    measured = quotient(relative(f"pgembedd, {precision}", "texts/s"), peers)
    return Target("embed", f"{precision}, against {name}", "at least", constant(limit), measured, TIMES)


FASTEMBED = relative("fastembed, defaults", "texts/s")
SENTENCE = relative("sentence-transformers, defaults", "texts/s")

EMBED = (
    _speed("fastembed at its defaults", "fp32", FASTEMBED, 5.5),
    _speed("sentence-transformers at its defaults", "fp32", SENTENCE, 2.8),
    _speed("the best tuned peer of that precision", "fp32", relative(EXACT_PEERS, "texts/s"), 1),
    _speed("fastembed at its defaults", "int8", FASTEMBED, 10),
    _speed("sentence-transformers at its defaults", "int8", SENTENCE, 5),
    _speed("the best tuned peer of that precision", "int8", relative(INT8_PEERS, "texts/s"), 1),
    _speed("the best tuned peer that is as faithful", "int8", relative(INT8_PEERS, "texts/s", _faithful), 1),
)

QUALITY = (
    Target(
        "quality",
        "int8, nDCG@10 against fp32",
        "at least",
        constant(NDCG_SHARE),
        quotient(only("nDCG@10, int8"), only("nDCG@10, fp32")),
        TIMES,
    ),
    *(
        Target("quality", f"int8, {which} cosine of documents", "at least", constant(least), measured, "cosine")
        for which, least, measured in (
            ("mean", MEAN_COSINE, only("documents, mean", "cosine")),
            ("worst", WORST_COSINE, only("documents, worst", "cosine")),
        )
    ),
)

TRIGGERS = (
    _writers("bulk insert, against a bare table", INSERTS, 2.5),
    _writers("single insert", "insert of one row", 1.3),
    _writers("update of an unrelated column, row without a vector", "update of another column", 1.1),
    _writers("update of an unrelated column, row with a vector", "update of another column, vector there", 1.1),
    Target(
        "triggers",
        "update of an unrelated column, the triggers alone",
        "at most",
        constant(1.1),
        relative("update of another column, vector there, triggers alone", "s"),
        TIMES,
    ),
)

ROOFLINE = tuple(
    Target(
        "roofline",
        f"{precision}, share of the matrix-multiply peak",
        "at least",
        constant(share),
        only(f"pgembedd, {precision}, of the peak", "%"),
        "%",
    )
    for precision, share in (("fp32", 65), ("int8", 45))
)

LATENCY = (
    Target(
        "latency",
        "commit to vector visible, median, idle",
        "at most",
        computed(lambda bare: 3 * bare + 0.010, only("one embedding, bare, p50", "s")),
        only("commit to vector, idle, p50", "s"),
        "s",
        rule="3 bare embeddings of the same text + 10 ms",
    ),
    Target(
        "latency",
        "process start to first vector",
        "at most",
        computed(lambda bare: max(0.7, 1.3 * bare), only("bare script, start to vector", "s")),
        only("worker, start to vector stored", "s"),
        "s",
        rule="0.7 s, or 1.3 times a bare script",
    ),
)

SQL_EMBED = (
    Target(
        "sql_embed",
        "a question's vector inside SQL, median",
        "at most",
        computed(lambda bare: bare + 0.030, only("one question, bare, p50", "s")),
        only(r"embed\(\) in SQL, p50", "s"),
        "s",
        rule="the bare model's time + 30 ms",
    ),
)

SOAK = tuple(
    target
    for precision, limit in (("fp32", 450), ("int8", 300))
    for target in (
        Target(
            "soak",
            f"{precision}, peak memory of a worker",
            "at most",
            constant(limit),
            only(f"{precision}, peak", "MB"),
            "MB",
        ),
        Target(
            "soak",
            f"{precision}, memory in the last quarter of the time against the second",
            "at most",
            constant(1.05),
            quotient(only(f"{precision}, last quarter", "MB"), only(f"{precision}, second quarter", "MB")),
            TIMES,
        ),
    )
)

PROVIDERS = (
    Target(
        "providers",
        "through a provider, share of what its limits allow",
        "at least",
        constant(0.9),
        quotient(
            only("16 texts a request", "texts/s"),
            only("16 texts a request, what the limits allow", "texts/s"),
        ),
        TIMES,
    ),
)

GENERATION = (
    Target(
        "generation",
        "processor time for a delta of a language model's",
        "at most",
        constant(0.0002),
        only("worker, 1 answer, CPU a delta", "s"),
        "s",
    ),
    Target(
        "generation",
        "from a question to its first delta, without search and language model",
        "at most",
        constant(0.05),
        only(r"worker, first delta after ask\(\)", "s"),
        "s",
    ),
)

TARGETS = (*EMBED, *QUALITY, *ROOFLINE, *PIPELINE, *LATENCY, *SQL_EMBED, *SOAK, *TRIGGERS, *GENERATION, *PROVIDERS)
