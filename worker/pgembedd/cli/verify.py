"""`pgembedd verify`"""

import json
import secrets
from collections.abc import Callable
from typing import Any

import click
import psycopg

from pgembedd.cli.options import IntegerRange, database_option, open_models, print_json, settings_options
from pgembedd.cli.progress_bar import progress_bar
from pgembedd.database.records import ServedPipeline
from pgembedd.documents.parsers import fingerprint
from pgembedd.errors import ConfigurationError, PgembeddError, WrongVectorsError
from pgembedd.loop.model_loader import precision_of
from pgembedd.model.embedder import Embedder
from pgembedd.model.providers.configured import Provider, enabled_providers
from pgembedd.settings import Settings
from pgembedd.text.quantities import counted
from pgembedd.verify.cost import estimate_cost, paid_provider
from pgembedd.verify.report import WRONG, Report
from pgembedd.verify.vector_verdicts import TOLERANCE
from pgembedd.verify.verifier import Judge, Options, by_model, by_parser, pipelines_to_verify, verify

SAMPLE = 300
FINE = ("right", "blank", "in_flight", "dead")
WORDS = {"in_flight": "in flight", "foreign": "another model's"}


@click.command("verify")
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@database_option
@click.option("--sample", metavar="N", type=IntegerRange(1, 1_000_000), help=f"Rows at random; {SAMPLE} by default.")
@click.option("--all", "everything", is_flag=True, help="Every row, in the order of the key.")
@click.option("--seed", type=IntegerRange(0, 2**31 - 1), help="Draws the same rows again, if the table is the same.")
@click.option("--requeue", is_flag=True, help="Queue what is wrong, to be embedded by a worker.")
@click.option("--yes", is_flag=True, help="Send texts to providers of embeddings that have a key, which costs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a pipeline.")
@settings_options("model_dir", "precision", "device", "threads", "providers", "providers_file")
def command(
    pipelines: tuple[str, ...],
    database: str | None,
    requeue: bool,
    yes: bool,
    as_json: bool,
    settings: Settings,
    **drawn: Any,
) -> None:
    """Embed rows again and compare the vectors with the stored ones.

    Of the named pipelines, or of all. Exit code 6 when a row is wrong and was not queued.
    """
    options = _options(**drawn, requeue=requeue)
    providers = enabled_providers(settings)
    reports: list[Report] = []
    refused: list[PgembeddError] = []
    with open_models(database, settings) as (connection, load):
        for pipeline in pipelines_to_verify(connection, pipelines):
            try:
                _say_cost(connection, pipeline, providers, options, yes=yes)
                reports.append(_verify(connection, pipeline, load, options))
            except PgembeddError as error:  # of this pipeline alone: the others are verified, too
                refused.append(error)
                continue
            if as_json:
                print_json(_object(reports[-1]))
            else:
                click.echo(_text(reports[-1]))
    _conclude(reports, refused, requeue)


def _options(*, sample: int | None, everything: bool, seed: int | None, requeue: bool) -> Options:
    """Returns the options. UsageError for those that contradict each other."""
    if sample and everything:
        raise click.UsageError("--sample and --all contradict each other.")
    if everything and seed is not None:
        raise click.UsageError("--all takes every row, so --seed has nothing to draw: leave one of them out.")
    seed = secrets.randbelow(2**31) if seed is None else seed
    return Options(None if everything else sample or SAMPLE, seed, requeue)


def _verify(
    connection: psycopg.Connection, pipeline: ServedPipeline, load: Callable[[str], Embedder], options: Options
) -> Report:
    """Verifies one pipeline, with the tolerance of the model's precision, or by the parser that is installed."""
    judge = by_parser(fingerprint()) if pipeline.parses else _by_model(pipeline, load(pipeline.model))
    with progress_bar(pipeline.name, shown=options.sample is None) as show:

        def show_report(report: Report) -> None:
            show(report.rows_checked, max(report.rows, report.rows_checked))

        return verify(connection, pipeline, judge, options, show_report)


def _by_model(pipeline: ServedPipeline, embedder: Embedder) -> Judge:
    return by_model(pipeline, embedder, TOLERANCE[precision_of(embedder)])


def _say_cost(
    connection: psycopg.Connection,
    pipeline: ServedPipeline,
    providers: dict[str, Provider],
    options: Options,
    *,
    yes: bool,
) -> None:
    """Says what a provider with a key will be asked for. ConfigurationError unless `yes`."""
    if pipeline.parses or (provider := paid_provider(pipeline, providers)) is None:
        return
    cost = estimate_cost(connection, pipeline, provider, options)
    size = f"about {counted(cost.texts, 'text')} with {counted(cost.tokens, 'token')}"
    sends = f"{pipeline.name}: a verification sends {size} to {provider.name}"
    if not yes:
        raise ConfigurationError(f"{sends}, which costs: nothing was sent; verify with --yes if that is right.")
    click.echo(f"{sends}.", err=True)


def _conclude(reports: list[Report], refused: list[PgembeddError], requeue: bool) -> None:
    """Raises the error of the exit code: of a pipeline that could not be read before that of a wrong one."""
    for error in refused[:-1]:
        click.echo(f"pgembedd: {error}", err=True)
    if refused:
        raise refused[-1]
    wrong = {report.pipeline: report.wrong for report in reports if report.wrong}
    if wrong and not requeue:
        names = ", ".join(wrong)
        raise WrongVectorsError(
            f"{counted(sum(wrong.values()), f'row of {names} has', f'rows of {names} have')} the wrong vector or none:"
            " queue them with `pgembedd verify --requeue`."
        )


def _object(report: Report) -> dict[str, object]:
    counts = {kind: report.counts[kind] for kind in (*FINE, *WRONG)}
    examples = {kind: [json.loads(key) for key in keys] for kind, keys in report.examples.items() if keys}
    return {
        "pipeline": report.pipeline,
        "rows_checked": report.rows_checked,
        "rows": report.rows,
        "seed": report.seed,
        **counts,
        "wrong": report.wrong,
        "requeued": report.requeued,
        "note": report.note,
        "examples": examples,
    }


def _text(report: Report) -> str:
    """Returns a few lines: rows by verdict, with some keys of the wrong ones."""
    drawn = "" if report.rows == report.rows_checked else f" of about {report.rows}, drawn with --seed {report.seed}"
    lines = [f"{report.pipeline}: {counted(report.rows_checked, 'row')}{drawn}"]
    lines.append("  " + " · ".join(f"{report.counts[kind]} {WORDS.get(kind, kind)}" for kind in FINE))
    for kind in WRONG:
        if report.counts[kind]:
            keys = ", ".join(report.examples.get(kind, []))
            more = ", ..." if report.counts[kind] > len(report.examples.get(kind, [])) else ""
            lines.append(f"  {report.counts[kind]} {WORDS.get(kind, kind)}: {keys}{more}")
    lines += [f"  {report.note}"] if report.note else []
    lines += [f"  {report.requeued} queued"] if report.requeued else []
    return "\n".join(lines)
