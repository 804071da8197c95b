"""`pgembedd eval`"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.table import Table

from pgembedd.cli.options import FiniteRange, database_option, open_models, print_json, settings_options, timeout_option
from pgembedd.cli.progress_bar import progress_bar
from pgembedd.cli.search import chosen_pipeline
from pgembedd.errors import ConfigurationError, WorseSearchError
from pgembedd.evaluation.asked import AnswerQuality, ask_all, judge_answers
from pgembedd.evaluation.baseline import Values, check_writable, falls, load, save, to_json, write
from pgembedd.evaluation.evaluate import Measured, available_modes, evaluate, keys_without_row
from pgembedd.evaluation.metrics import METRICS
from pgembedd.evaluation.plot import svg
from pgembedd.evaluation.questions import Question, read_questions, read_topics
from pgembedd.evaluation.refusals import Separated, separate
from pgembedd.loop.model_loader import reranker_loader
from pgembedd.model.embedder import Embedder
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.settings import Settings
from pgembedd.text.quantities import counted

FILE = click.Path(dir_okay=False, path_type=Path)
TOLERANCE = 0.01


@dataclass(frozen=True)
class Run:
    """The arguments and the options of the command."""

    pipeline: str
    questions: Path
    database: str | None
    qrels: Path | None
    rerank: str | None
    plot: Path | None
    saved: Path | None
    baseline: Path | None
    tolerance: float
    answers: bool
    asks: bool
    timeout_s: float
    as_json: bool
    settings: Settings

    def check(self) -> None:
        """Raises what would keep the results from being written, and UsageError for options that contradict."""
        if self.plot is not None and self.plot.suffix.lower() != ".svg":
            raise click.UsageError("A plot is an SVG file: give it a name that ends with .svg.")
        for path in filter(None, (self.plot, self.saved)):
            check_writable(path)
        other = self.qrels or self.rerank or self.plot or self.saved or self.baseline
        if (self.answers or self.asks) and ((self.answers and self.asks) or other):
            option = "--answers" if self.answers else "--ask"
            raise click.UsageError(f"{option} takes no other option of measuring.")


@click.command("eval")
@click.argument("pipeline")
@click.argument("questions", type=FILE)
@database_option
@click.option("--qrels", type=FILE, help="Judgements of TREC or BEIR; QUESTIONS then holds the topics.")
@click.option("--rerank", metavar="MODEL", help="Measure each mode with this reranker, too: ms-marco-minilm-l12.")
@click.option("--plot", type=FILE, help="Write the results as bars to this SVG file.")
@click.option("--save", "saved", type=FILE, help="Write the results to this file, for --baseline.")
@click.option("--baseline", type=FILE, help="Compare with a file of --save; exit code 7 where a metric fell.")
@click.option(
    "--tolerance",
    type=FiniteRange(0, 1),
    default=TOLERANCE,
    show_default=True,
    help="By how much a metric may fall.",
)
@click.option("--answers", is_flag=True, help="Measure which questions ask() refuses, instead of the searches.")
@click.option("--ask", "asks", is_flag=True, help="Ask the language model each question, and measure its answers.")
@timeout_option("With --ask, seconds to wait for a next part of an answer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@settings_options("model_dir", "precision", "device", "threads", "providers", "providers_file")
def command(**given: Any) -> None:
    """Measure how well PIPELINE finds what answers the QUESTIONS.

    QUESTIONS has a JSON object a line: {"query": "words", "relevant": [1, 2]}, the keys of the rows that answer it, or
    {"1": 2, "2": 1} with grades. Prints nDCG@10, recall@10 and MRR@10 of each mode of search.

    With --answers, [] stands for a question that the table does not answer, and the similarities that separate the two
    kinds are printed, for configure_answers(). With --ask a worker's language model answers each question, which
    may cost money; "facts": ["words"] in a question are looked for in its answer.
    """
    run = Run(**given)
    run.check()
    if run.answers or run.asks:
        _measure_answers(run, read_questions(run.questions, unanswered=True))
    else:
        _measure_searches(run, read_topics(run.questions, run.qrels) if run.qrels else read_questions(run.questions))


def _measure_searches(run: Run, asked: list[Question]) -> None:
    """Measures the modes of search, prints and writes the results. WorseSearchError where they are worse."""
    before = load(run.baseline, asked) if run.baseline else None
    with open_models(run.database, run.settings) as (connection, load_model):
        model, results, left_out = _measure(connection, load_model, run, asked)
    stored = to_json(run.pipeline, model, asked, results) | {"left_out": left_out}
    title = f"{run.pipeline}: {counted(len(asked), 'question')}"
    if run.as_json:
        print_json(stored)
    else:
        _print(title, results, before, left_out)
    if run.plot is not None:
        write(run.plot, svg(f"{title}, {model}", results))
    if run.saved is not None:
        save(run.saved, stored)
    if before is not None and (fallen := falls(before, results, run.tolerance)):
        raise WorseSearchError(f"The search is worse than in {run.baseline}: {'; '.join(fallen)}.")


def _measure(
    connection: psycopg.Connection, load_model: Callable[[str], Embedder], run: Run, asked: list[Question]
) -> tuple[str, list[Measured], dict[str, str]]:
    """Returns the pipeline's fingerprint, the results, and a sentence for each mode that it does not have."""
    with nullcontext() if run.rerank is None else reranker_loader(run.settings)(run.rerank) as reranker:
        fingerprint, vectors = _vectors(connection, load_model, run.pipeline, asked)
        refused = available_modes(connection, run.pipeline, asked[0], vectors[0])
        modes = [mode for mode, sentence in refused.items() if not sentence]
        with progress_bar("questions") as show:
            results = evaluate(
                connection, run.pipeline, asked, vectors, modes, reranker, lambda done: show(done, len(asked))
            )
    return fingerprint, results, {mode: sentence for mode, sentence in refused.items() if sentence}


def _vectors(
    connection: psycopg.Connection, load_model: Callable[[str], Embedder], pipeline: str, asked: list[Question]
) -> tuple[str, list[list[float]]]:
    """Returns the pipeline's fingerprint, and the vector of each question."""
    where = chosen_pipeline(connection, pipeline)
    _check_keys(connection, where.name, asked)
    embedder = load_model(where.model)
    check_fingerprint(where, embedder.fingerprint)
    found = embedder.start([each.query for each in asked], kind="query").result().vectors
    return embedder.fingerprint, found.tolist()


def _check_keys(connection: psycopg.Connection, pipeline: str, asked: list[Question]) -> None:
    """Says which relevant keys are of no row; ConfigurationError where all are."""
    missing, looked_up = keys_without_row(connection, pipeline, asked)
    first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    if missing and len(missing) == looked_up:
        raise ConfigurationError(
            f'No relevant key is of a row of "{pipeline}": {first}; give keys as a search returns them.'
        )
    if missing:
        are = "is" if len(missing) == 1 else "are"
        click.echo(f'{len(missing)} of {looked_up} relevant keys {are} of no row of "{pipeline}": {first}.', err=True)


def _measure_answers(run: Run, asked: list[Question]) -> None:
    """Measures the answers with --ask, else the threshold."""
    found: AnswerQuality | Separated
    with open_models(run.database, run.settings) as (connection, load_model), progress_bar("questions") as show:
        model, vectors = _vectors(connection, load_model, run.pipeline, asked)
        if run.asks:
            answers = ask_all(
                connection, run.pipeline, asked, vectors, run.timeout_s, lambda done: show(done, len(asked))
            )
            found = judge_answers(answers)
        else:
            found = separate(connection, run.pipeline, asked, vectors)
    if run.as_json:
        print_json({"pipeline": run.pipeline, "model": model, **found.to_json()})
    else:
        click.echo("\n".join(found.lines()))


def _print(title: str, results: Sequence[Measured], before: Values | None, left_out: dict[str, str]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    table.add_column("search", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for each in results:
        old = (before or {}).get(each.name, {})
        table.add_row(each.name, *(_cell(value, old.get(name)) for name, value in each.values.items()))
    Console().print(table)
    for mode, sentence in left_out.items():
        click.echo(f"{mode} is left out: {sentence}")


def _cell(value: float, before: float | None) -> str:
    """Returns the value, and its distance to the baseline."""
    return f"{value:.3f}" if before is None else f"{value:.3f} ({value - before:+.3f})"
