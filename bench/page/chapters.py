"""What the page says of each bench, in words: no figures here, they come from results."""

from dataclasses import dataclass

from bench.page.shapes import Bars, Lines, Plot


@dataclass(frozen=True)
class Chapter:
    """A bench's part of the page: heading, explanation, plots."""

    bench: str
    heading: str
    text: str
    plots: tuple[Plot, ...] = ()


CHAPTERS = (
    Chapter(
        "embed",
        "Texts a second, beside other libraries",
        """How fast the model turns texts into vectors, without a database. Every library gets the same weights, the
same texts and the same cores, in a process of its own; rounds are interleaved, so that a slow minute of the
machine hits all of them alike. Each is measured as it comes (*defaults*) and with the settings that we
found best for it; a *bare loop* is the plainest use of onnxruntime. The texts have the long tail of real
ones, so padding a batch to its longest text is part of what is measured. Memory is the process's peak.

The longer the texts that a model reads, the more padding costs those who pad: the lead over libraries at their
defaults grows with the model's limit. `gte-shape` is gte-small's architecture with random weights, which take as
long as trained ones; its cosines say little.

Where a target is missed, the next chapter says why. At fp32 the whole model runs so near the processor's peak
that nobody on the same machine could be as far ahead of sentence-transformers, which sorts by length and pads
little, as was asked. At int8 with VNNI what remains is attention, which stays in single precision and grows with
the square of a text's length; quantising its scores too would gain some speed, and cost exactness that the quality
gate has little room for. The peer that is quicker there has fixed scales throughout, and fails that gate.""",
        (
            Bars("speed", "Texts a second", "texts a second", r"(?P<label>.*)", "texts/s", by_value=True),
            Bars("memory", "Peak memory of the process", "MB", r"(?P<label>.*)", "MB", by_value=True),
        ),
    ),
    Chapter(
        "quality",
        "What int8 costs in exactness",
        """The first sentence of a documentation string is the question, the rest of the string the one document that
answers it; every question is searched exactly, at fp32 and at int8. Beside it the cosines between both vectors of a
text; short and odd texts one by one, which calibration and averages miss.""",
        (
            Bars(
                "retrieval",
                "Retrieval of the document that a sentence was taken from",
                "mean over all questions",
                r"(?P<label>MRR@10|recall@10|nDCG@10), (?P<series>fp32|int8)",
                "",
            ),
            Bars("odd", "Short and odd texts", "cosine of int8 and fp32", r"odd text (?P<label>.*)", "cosine"),
        ),
    ),
    Chapter(
        "roofline",
        "Share of what the processor can do",
        """The machine's own speed at multiplying matrices of this model's shapes, with nothing around it, is the
ceiling of any implementation. How much of it is left when the whole model runs: the rest goes to attention,
normalisation, quantising and memory.""",
        (
            Bars(
                "share",
                "Share of the peak that the whole model reaches",
                "percent of the peak",
                r"(?P<label>pgembedd, .*), of the peak",
                "%",
            ),
            Lines(
                "peak",
                "Products of one layer, by number of tokens",
                "GFLOP/s a core",
                r"(?P<series>\w+ \w+) products, (?P<x>\d+) tokens",
                "GFLOP/s a core",
                x_axis="tokens",
            ),
        ),
    ),
    Chapter(
        "operators",
        "Where the model's time goes",
        """The profile of our own graphs, by kind of operator. Matrix products run near the processor's peak; what else
there is bounds what a faster graph could gain.""",
        (
            Bars(
                "share",
                "Share of the model's time",
                "percent",
                r"(?P<series>fp32|int8), (?P<label>.*)",
                "%",
            ),
        ),
    ),
    Chapter(
        "pipeline",
        "From insert to vector, end to end",
        """Rows are inserted into a table with a pipeline; the clock stops when every vector is committed and in the
index. Beside it, the bare model on the same texts: the difference is what queue, triggers, statements and
index cost. With a *null model*, which returns constant vectors at once, only the plumbing is left: how many
rows it can carry, with how many workers, and whether a long queue makes a row dearer.""",
        (
            Bars(
                "rate",
                "End to end, and the model alone",
                "texts a second",
                r"(?P<label>model alone|end to end, .*)",
                "texts/s",
            ),
            Lines(
                "workers",
                "Null model: what the plumbing carries",
                "rows a second",
                r"null model, (?P<x>\d+) workers?",
                "rows/s",
                x_axis="workers",
                log_x=False,
            ),
            Lines(
                "depth",
                "Null model: what a row costs while so many are queued",
                "microseconds a row",
                r"null model, (?P<x>[\d,]+) queued",
                "us/row",
                x_axis="rows queued",
            ),
        ),
    ),
    Chapter(
        "writes",
        "How vectors travel to the table",
        """The ways a batch of vectors can be sent to rows that exist, without an index on them. The worker's is the
first: one statement, binary, and the same for columns of both types.""",
        (Bars("rate", "Ways to write a batch", "rows a second", r"(?P<label>.*)", "rows/s"),),
    ),
    Chapter(
        "latency",
        "How soon a vector is there",
        """From the commit of a row to the moment when another connection sees its vector, on an idle system and while
a backfill is under way; and from the start of a process to its first vector. Percentiles, because a mean
hides the slow ones: half of all rows are faster than the first figure, and the last is what the unlucky
see.""",
        (
            Bars(
                "percentiles",
                "From commit to vector",
                "seconds",
                r"(?P<label>.*), (?P<series>p\d+)",
                "s",
            ),
        ),
    ),
    Chapter(
        "sql_embed",
        "A question's vector inside a query",
        """What pgembedd.embed() takes in a session that is open, next to the bare model for the same texts, each of
them new; a search that orders indexed vectors by what it returns; and several sessions that ask at the
same time, each with a connection of its own to open for every question.""",
        (
            Bars(
                "percentiles",
                "From the question to its vector",
                "seconds",
                r"(?P<label>.*), (?P<series>p\d+)",
                "s",
            ),
        ),
    ),
    Chapter(
        "http",
        "Vectors over HTTP",
        """One short question a request, over connections that send the next one as soon as they have the answer to the
last: `pgembedd serve` at both of its endpoints, the bare session asked by as many threads, and the server that one
writes in ten minutes, FastAPI and fastembed as they come. All with the same weights; vectors are checked. The client
takes its share of the same cores. The processor time is that of the server's process alone.

A question takes one core, so that several are answered at once without getting in each other's way. Somebody who
asks alone could have the answer sooner with all cores at work on it, as fastembed's are.""",
        (
            Lines(
                "rate",
                "Requests answered",
                "requests a second",
                r"(?P<series>.*), (?P<x>\d+) connections?",
                "requests/s",
                x_axis="connections",
            ),
            Lines(
                "cost",
                "Processor time of a request",
                "milliseconds a request",
                r"(?P<series>.*), (?P<x>\d+) connections?",
                "processor ms/request",
                x_axis="connections",
            ),
            Bars(
                "waits",
                "From request to answer",
                "seconds",
                r"(?P<label>.*, \d+ connections?), (?P<series>p\d+)",
                "s",
            ),
        ),
    ),
    Chapter(
        "fairness",
        "A small pipeline behind a large one",
        """Pipelines that share a queue share the worker: the rows of a small one are timed from their commit to the
last vector, on an empty queue and behind a backlog of another pipeline that would keep the worker busy for
minutes, in both lanes. Half of the worker is the small one's due, so twice the time is what to expect, and
a little for the claims that are in the model already. Below that what it costs: a claim out of a very long
queue, dealt and in the order of arrival, and a bulk load into a queue that is shared, beside one that is
not.""",
        (
            Bars(
                "lanes",
                "From commit to the last vector",
                "seconds",
                r"\d+ rows, (?P<label>.*)",
                "s",
            ),
        ),
    ),
    Chapter(
        "soak",
        "Memory over time",
        """A worker at its default settings, busy all the time on texts of all lengths, and the memory it holds as time
goes by. A leak would show as a slope.""",
        (
            Lines(
                "memory",
                "Memory of a busy worker",
                "MB",
                r"(?P<series>.*), after (?P<x>\d+) minutes?",
                "MB",
                x_axis="minutes",
                log_x=False,
            ),
        ),
    ),
    Chapter(
        "triggers",
        "What writers pay",
        """Registering a table adds triggers to it, and a vector column with its index. The same statements run in turn
on a *bare* table, on one with the *columns* and the index but without triggers, on one with a *pipeline*, and on one
whose pipeline has its vectors in a table of *chunks*; no worker is running.
*Triggers alone* compares the pipeline with the columns. A row that has its vector pays for the vector's index
whenever Postgres cannot update it in place, whoever made that index.""",
        (
            Bars(
                "cost",
                "Statements on a table with a pipeline, against the same table without",
                "times as long",
                r"(?P<label>.*), pipeline",
                "s",
                ratios=True,
            ),
            Bars(
                "chunks",
                "The same with the vectors in an embedding table",
                "times as long",
                r"(?P<label>.*), chunks",
                "s",
                ratios=True,
            ),
        ),
    ),
    Chapter(
        "hnsw",
        "The vector index",
        """An HNSW index is dear to grow row by row and much cheaper to build at once. Rows are loaded without an
index, with the index made first, and with the index built after the load, as a backfill of a large table
may do it. Then what the index finds: the share of the ten nearest rows, by exact search over single
precision vectors, that are among the ten it gives.""",
        (
            Lines(
                "load",
                "What a row costs: index made first, built after, or none",
                "milliseconds a row",
                r"load of (?P<x>\d+) rows, (?P<series>index .*)",
                "s",
                x_axis="rows loaded",
                per_x=True,
            ),
            Lines(
                "search",
                "A search with the index and without",
                "milliseconds",
                r"search of (?P<x>\d+) rows, (?P<series>.*)",
                "ms",
                x_axis="rows in the table",
            ),
            Bars(
                "recall",
                "Recall@10 against exact search",
                "share of the ten nearest that are found",
                r"recall@10, \d+ rows, (?P<label>.*), (?P<series>ef_search \d+)",
                "",
            ),
        ),
    ),
)
