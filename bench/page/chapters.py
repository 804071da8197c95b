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
machine affects all of them alike. Each is measured with its *defaults* and with the best settings that we
found for it; a *bare loop* is the simplest use of onnxruntime. The texts have the long tail of real
ones, so padding a batch to its longest text is part of what is measured. Memory is the process's peak.

The longer the texts that a model reads, the more padding costs: the lead over libraries at their
defaults grows with the model's limit. `gte-shape` is gte-small's architecture with random weights, which take as
long as trained ones; its cosines say little.

Where a target is missed, the next chapter says why. At fp32 the whole model runs so near the processor's peak
that no library on the same machine could reach the target against sentence-transformers, which sorts by length and
pads little. At int8 with VNNI what remains is attention, which stays in single precision and grows with
the square of a text's length; quantising its scores too would gain some speed, and cost exactness that the quality
gate hardly allows. The faster library there has fixed scales throughout, and fails that gate.""",
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
ceiling of any implementation. The bench measures which share of it the whole model reaches: the rest goes to attention,
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
        """The profile of our own graphs, by kind of operator. Matrix products run near the processor's peak; the share
of all other operators bounds the gain of a faster graph.""",
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
index cost. A *null model*, which returns constant vectors at once, measures everything except the model: how many
rows per second, with how many workers, whether a long queue makes a row more expensive, and what of it are the words
that a search by words needs.""",
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
        """The ways to write a batch of vectors to existing rows, without an index. The worker uses the
first: one statement, binary, and the same for columns of both types.""",
        (Bars("rate", "Ways to write a batch", "rows a second", r"(?P<label>.*)", "rows/s"),),
    ),
    Chapter(
        "latency",
        "How soon a vector is there",
        """From the commit of a row to the moment when another connection sees its vector, on an idle system and while
a backfill is under way; and from the start of a process to its first vector. Percentiles, because a mean
hides the slow rows: half of all rows are faster than the first figure, and one in a hundred is
slower than the last.""",
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
        """The time of pgembedd.embed() in an open session, next to the bare model for the same texts, each of
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
last: `pgembedd serve` at both of its endpoints, the bare session asked by as many threads, and a minimal
server of FastAPI and fastembed with their defaults. All with the same weights; vectors are checked. The client
takes its share of the same cores. The processor time is that of the server's process alone.

A question uses one core, so that several are answered at the same time without slowing each other. A single client
could get its answer sooner with all cores at work on it, as fastembed does.""",
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
        """Pipelines share the worker's time: the rows of a small one are timed from their commit to the last
vector, with nothing else queued, behind a backlog of another pipeline that would keep the worker busy for
minutes, in both lanes, and beside long articles of another pipeline. The small one gets half of the worker, so
it should take twice the time, plus a little for the claims that are already in the model. Below that the cost: a
claim out of a very long queue, beside pgmq's own read, and the look at what is due; and a bulk load with our index of
the queue, beside pgmq's.""",
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
        "slow_owner",
        "Beside code of a table's owner that does not end",
        """Two pipelines always have rows waiting, and the owner of a third one's table has a trigger or a content
function that never ends. How many rows of the two are done, beside the same with that code as it should be, after the
first hit, which costs as much as a worker allows such code.""",
        (),
    ),
    Chapter(
        "soak",
        "Memory over time",
        """A worker at its default settings, always busy with texts of all lengths, and its memory over
time. A leak would show as a slope.""",
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
whenever Postgres cannot update it in place, with pgembedd or without.""",
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
        """An HNSW index is expensive to grow row by row and much cheaper to build at once. Rows are loaded without an
index, with the index made first, and with the index built after the load, as a backfill of a large table
may do it. Then the recall of the index: the share of the ten nearest rows, by exact search over single
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
    Chapter(
        "search",
        "Search under filters",
        """search() with a vector, beside the same ORDER BY … LIMIT by the same path and with the same settings
(*bare*), and beside two forms of SQL as others publish them, with pgvector's defaults: a *match function* with the
filter in its WHERE, and the *filter around a window* of the ten nearest. A filter keeps a share of the rows: any of
them (*independent*), those nearest to a subject with questions of that subject (*near*), or with questions as far
from it as there are (*far*). Recall and completeness are shares of what an exact search finds; a form that is
faster and finds nothing is not the better one. The vectors are of documentation; beyond some thousands they are
mixtures of two with a little noise.""",
        (
            Bars(
                "time",
                "Time of search(), against the bare query by the same path",
                "times as long",
                r"(?P<label>.*), search\(\), p50",
                "ms",
                ratios=True,
            ),
            Bars(
                "recall",
                "Recall@10 under filters, against exact search",
                "share of the ten nearest that are found",
                r"recall@10, (?P<label>.* rows, .*), (?P<series>search\(\)|match function|filter around a window)",
                "",
            ),
        ),
    ),
    Chapter(
        "retrieval",
        "What searches find",
        """How well each mode of search() answers questions whose relevant documents are known, beside the SQL of others
as they publish it: nDCG@10, recall@10 and MRR@10, on collections that you bring
(`python -m bench.retrieval FOLDER …`). Every way searches the same table with the same vectors; ratios are to
search by meaning alone.""",
        (
            Bars(
                "ndcg",
                "nDCG@10",
                "nDCG@10",
                r"(?P<label>.*)",
                "nDCG@10",
            ),
        ),
    ),
    Chapter(
        "rerank",
        "What reranking takes",
        """The time of a core that the reranker takes for a query and a text, by the tokens that it reads of both. It
reads each pair by itself, so hits take the sum, shared among the cores.""",
    ),
    Chapter(
        "answers",
        "What answers cost that are watched",
        """The processor time of `pgembedd serve` for each delta that a viewer of an answer gets, and how long after its
writing it comes: for one viewer, for many of one answer, and for many answers with a viewer each.""",
    ),
    Chapter(
        "generation",
        "What a worker spends on an answer",
        """The processor time of `pgembedd run` for each delta that a language model sends, from one answer and from
eight at a time, beside a script that reads the same stream with the `openai` package and does nothing with it; and the
time from the commit of a question to its first delta in the database. The language model is a stand-in on the same
cores.""",
    ),
    Chapter(
        "providers",
        "Through a provider of embeddings",
        """Texts a second from queued rows to stored vectors where a provider makes them, by the texts of a request,
beside what its limits allow: the requests in progress, times the texts of one, in the time that an answer takes. The
provider is a stand-in on the same cores, which answers after a fixed delay.""",
    ),
)
