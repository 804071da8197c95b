"""`pgembedd search`"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.text import Text

from pgembedd.cli.options import database_option, open_connection, print_json, search_options, settings_options
from pgembedd.errors import ConfigurationError
from pgembedd.loop.model_loader import loader
from pgembedd.search.calls import pipelines_call
from pgembedd.search.engine import SearchEngine
from pgembedd.search.hits import Hit, Hits, Pipeline, title_of
from pgembedd.search.local_models import LocalModels
from pgembedd.search.run import in_transactions, run
from pgembedd.settings import Settings


@click.command("search")
@click.argument("text")
@click.argument("pipeline", required=False)
@database_option
@click.option("--pipeline", "-p", "named", help="Which pipeline, as the second argument.")
@search_options
@click.option("--explain", is_flag=True, help="Print how the hits are found, as JSON, instead of the hits.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each hit.")
@settings_options("model_dir", "precision", "device")
def command(
    text: str,
    pipeline: str | None,
    database: str | None,
    named: str | None,
    explain: bool,
    as_json: bool,
    settings: Settings,
    **given: Any,
) -> None:
    """Find rows by meaning, by words or both: search() in SQL, as the role of the connection.

    TEXT is embedded here where the model's files are on this machine, else by a worker.
    """
    if pipeline is not None and named is not None:
        raise click.UsageError("Name the pipeline once.")
    options = {name: value for name, value in given.items() if value is not None}
    with open_connection(database) as connection, closing(LocalModels(loader(settings, offline=True))) as models:
        where = chosen_pipeline(connection, named or pipeline)
        searches = SearchEngine(in_transactions(connection), models)
        if explain:
            click.echo(json.dumps(searches.explain(where, text, **options), indent=2))
        else:
            _print(searches.search(where, text, **options), where, as_json=as_json)


def _print(hits: Hits, where: Pipeline, *, as_json: bool) -> None:
    """Prints the hits, as lines or as JSON objects, and what the search notes to standard error."""
    for notice in hits.notices:
        click.echo(notice, err=True)
    if as_json:
        for hit in hits:
            print_json(asdict(hit))
    else:
        if hits:
            click.echo("similarity   score  key")
        print_hits(Console(), hits, where)


def chosen_pipeline(connection: psycopg.Connection, name: str | None) -> Pipeline:
    """Returns the pipeline of that name, or the only one there is. ConfigurationError otherwise."""
    found = run(connection, pipelines_call())
    names = ", ".join(one.name for one in found)
    chosen = [one for one in found if name in (None, one.name)]
    if not found:
        raise ConfigurationError(
            "There is no pipeline to search: pgembedd.create_pipeline() makes one, and its source must be readable."
        )
    if not chosen:
        raise ConfigurationError(f'There is no pipeline "{name}"; there are: {names}.')
    if len(chosen) > 1:
        raise ConfigurationError(f"There are several pipelines, so name one: {names}.")
    return chosen[0]


def print_hits(console: Console, hits: Sequence[Hit], where: Pipeline) -> None:
    """Prints a line per hit: similarity, score, key, the number of a chunk, title and snippet.

    Of a hit in a file two lines: its place instead of the key, and the snippet.
    """
    if not hits:
        console.print("Nothing was found; `pgembedd status` shows what is still queued.")
    for hit in hits:
        similarity = "-" if hit.similarity is None else f"{hit.similarity:.2f}"
        line = Text(f"{similarity:>10} {hit.score:7.4f}  ", style="cyan")
        snippet = " ".join((hit.snippet or "").split())
        title = title_of(hit, where.text_columns)
        if hit.place is not None:  # it may be as long as the line
            console.print(line.append(title, style="bold"), soft_wrap=True)
            console.print(Text(f"{'':20}{snippet}"), no_wrap=True, overflow="ellipsis")
            continue
        key = hit.key_text if hit.chunk_index is None else f"{hit.key_text} #{hit.chunk_index}"
        shown = snippet if not title or snippet.startswith(title) else f"{title}  {snippet}"
        line.append(key, style="bold").append(f"  {shown.removeprefix(key).lstrip()}", style="default")
        console.print(line, no_wrap=True, overflow="ellipsis")
