"""`pgembedd eval`"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pgembedd.cli.options import FiniteRange, database_option, open_connection, open_database, settings_options
from pgembedd.cli.search import chosen_pipeline
from pgembedd.errors import ConfigurationError, WorseSearchError
from pgembedd.evaluation.baseline import check_writable, falls, load, save, to_json, write
from pgembedd.evaluation.evaluate import Measured, available_modes, evaluate, keys_without_row
from pgembedd.evaluation.metrics import METRICS
from pgembedd.evaluation.questions import Question, read_questions, read_topics
from pgembedd.text.quantities import counted

if TYPE_CHECKING:
    import psycopg

    from pgembedd.evaluation.asked import AnswerQuality
    from pgembedd.evaluation.baseline import Values
    from pgembedd.evaluation.refusals import Separated
    from pgembedd.settings import Settings

FILE = click.Path(dir_okay=False, path_type=Path)
TOLERANCE = 0.01


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
@click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(1, 3600),
    default=120,
    show_default=True,
    help="With --ask, seconds to wait for a next part of an answer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@settings_options("model_dir", "precision", "threads", "providers", "providers_file")
def command(
    pipeline: str,
    questions: Path,
    database: str | None,
    qrels: Path | None,
    rerank: str | None,
    plot: Path | None,
    saved: Path | None,
    baseline: Path | None,
    tolerance: float,
    answers: bool,
    asks: bool,
    timeout_s: float,
    as_json: bool,
    settings: "Settings",
) -> None:
    """Measure how well PIPELINE finds what answers the QUESTIONS.

    QUESTIONS has a JSON object a line: {"query": "words", "relevant": [1, 2]}, the keys of the rows that answer it, or
    {"1": 2, "2": 1} with grades. Prints nDCG@10, recall@10 and MRR@10 of each mode of search.

    With --answers, [] stands for a question that the table does not answer, and the similarities that separate the two
    kinds are printed, for configure_answers(). With --ask a worker's language model answers each question, which
    may cost money; "facts": ["words"] in a question are looked for in its answer.
    """
    from pgembedd.log import configure_logging

    configure_logging(log_level="warning")
    _check_files(plot, saved)
    if answers or asks:
        if (answers and asks) or qrels or rerank or plot or saved or baseline:
            raise click.UsageError(f"{'--answers' if answers else '--ask'} takes no other option of measuring.")
        asked = read_questions(questions, unanswered=True)
        _of_ask(pipeline, asked, database, settings, timeout_s if asks else None, as_json=as_json)
        return
    asked = read_topics(questions, qrels) if qrels else read_questions(questions)
    before = load(baseline, asked) if baseline else None
    with open_database(database) as conninfo, open_connection(conninfo) as connection:
        model, results, left_out = _measure(connection, conninfo, pipeline, asked, rerank, settings)
    stored = to_json(pipeline, model, asked, results) | {"left_out": left_out}
    title = f"{pipeline}: {counted(len(asked), 'question')}"
    if as_json:
        click.echo(json.dumps(stored))
    else:
        _print(title, results, before, left_out)
    _write(f"{title}, {model}", stored, results, plot, saved)
    if before is not None and (fallen := falls(before, results, tolerance)):
        raise WorseSearchError(f"The search is worse than in {baseline}: {'; '.join(fallen)}.")


def _check_files(plot: Path | None, saved: Path | None) -> None:
    """Raises what would keep the results from being written, before anything is measured."""
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.UsageError("A plot is an SVG file: give it a name that ends with .svg.")
    for path in filter(None, (plot, saved)):
        check_writable(path)


def _measure(
    connection: "psycopg.Connection",
    conninfo: str,
    pipeline: str,
    asked: list[Question],
    rerank: str | None,
    settings: "Settings",
) -> tuple[str, list[Measured], dict[str, str]]:
    """Returns the pipeline's fingerprint, the results, and a sentence for each mode that it does not have."""
    from pgembedd.loop.model_loader import reranker_loader

    with nullcontext() if rerank is None else reranker_loader(settings)(rerank) as reranker:
        fingerprint, vectors = _vectors(connection, conninfo, pipeline, asked, settings)
        refused = available_modes(connection, pipeline, asked[0], vectors[0])
        modes = [mode for mode, sentence in refused.items() if not sentence]
        with _progress(asked) as show:
            results = evaluate(connection, pipeline, asked, vectors, modes, reranker, show)
    return fingerprint, results, {mode: sentence for mode, sentence in refused.items() if sentence}


def _vectors(
    connection: "psycopg.Connection", conninfo: str, pipeline: str, asked: list[Question], settings: "Settings"
) -> tuple[str, list[list[float]]]:
    """Returns the pipeline's fingerprint, and the vector of each question."""
    from pgembedd.database.provider_use import ProviderUse
    from pgembedd.loop.model_loader import loader
    from pgembedd.search.fingerprints import check_fingerprint

    where = chosen_pipeline(connection, pipeline)
    _check_keys(connection, where.name, asked)
    with (
        closing(ProviderUse(conninfo)) as ledger,
        closing(loader(settings, ledger=ledger)(where.model)) as embedder,
    ):
        check_fingerprint(where, embedder.fingerprint)
        found = embedder.start([each.query for each in asked], kind="query").result().vectors
    return embedder.fingerprint, found.tolist()


def _check_keys(connection: "psycopg.Connection", pipeline: str, asked: list[Question]) -> None:
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


def _of_ask(
    pipeline: str,
    asked: list[Question],
    database: str | None,
    settings: "Settings",
    timeout_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Measures the answers, each part of which is waited for that long, or without a time the threshold."""
    from pgembedd.evaluation.asked import ask_all, judge_answers
    from pgembedd.evaluation.refusals import separate

    found: AnswerQuality | Separated
    with open_database(database) as conninfo, open_connection(conninfo) as connection:
        model, vectors = _vectors(connection, conninfo, pipeline, asked, settings)
        if timeout_s is None:
            found = separate(connection, pipeline, asked, vectors)
        else:
            with _progress(asked) as show:
                found = judge_answers(ask_all(connection, pipeline, asked, vectors, timeout_s, show))
    if as_json:
        click.echo(json.dumps({"pipeline": pipeline, "model": model, **found.to_json()}))
    else:
        click.echo("\n".join(found.lines()))


@contextmanager
def _progress(asked: Sequence[Question]) -> Iterator[Callable[[int], None]]:
    """Shows a bar on standard error if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("questions", total=len(asked))
        yield lambda done: bar.update(task, completed=done)


def _print(title: str, results: Sequence[Measured], before: "Values | None", left_out: dict[str, str]) -> None:
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


def _write(
    title: str, stored: dict[str, Any], results: Sequence[Measured], plot: Path | None, saved: Path | None
) -> None:
    if plot is not None:
        from pgembedd.evaluation.plot import svg

        write(plot, svg(title, results))
    if saved is not None:
        save(saved, stored)
