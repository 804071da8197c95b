"""`pgembedd search`"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.text import Text

from pgembedd.cli.options import database_option, open_connection, settings_options
from pgembedd.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg

    from pgembedd.search.calls import SearchOptions
    from pgembedd.search.hits import Hit, Hits, Pipeline
    from pgembedd.settings import Settings

MODES = ("hybrid", "semantic", "text")


@click.command("search")
@click.argument("text")
@click.argument("pipeline", required=False)
@database_option
@click.option("--pipeline", "-p", "named", help="Which pipeline, as the second argument.")
@click.option("--k", "--limit", "-n", "k", type=int, default=5, show_default=True, help="How many hits.")
@click.option("--mode", type=click.Choice(MODES), help="How to search; default: that of search() in SQL.")
@click.option("--filter", "condition", metavar="JSON", help="""As '{"section": "faq", "year": {"$gte": 2020}}'.""")
@click.option("--per", type=click.Choice(("row", "chunk")), help="Each row once with its best chunk, or every chunk.")
@click.option("--min-similarity", type=float, help="Leave out what is less similar.")
@click.option("--rerank", metavar="MODEL", help="Rerank the first 20 hits: ms-marco-minilm-l12.")
@click.option("--explain", is_flag=True, help="Print how the hits are found, as JSON, instead of the hits.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each hit.")
@settings_options("model_dir", "precision")
def command(
    text: str,
    pipeline: str | None,
    database: str | None,
    named: str | None,
    condition: str | None,
    rerank: str | None,
    explain: bool,
    as_json: bool,
    settings: "Settings",
    **given: Any,
) -> None:
    """Find rows by meaning, by words or both: search() in SQL, as the role of the connection.

    TEXT is embedded here where the model's files are on this machine, else by a worker.
    """
    from pgembedd.log import configure_logging
    from pgembedd.loop.model_loader import offline_loader
    from pgembedd.search.calls import explain_call
    from pgembedd.search.local_models import LocalModels
    from pgembedd.search.run import run

    configure_logging(log_level="warning")
    if pipeline is not None and named is not None:
        raise click.UsageError("Name the pipeline once.")
    options = _options(given, condition)
    with open_connection(database) as connection, closing(LocalModels(offline_loader(settings))) as models:
        where = chosen_pipeline(connection, named or pipeline)
        if options.get("mode") != "text" and (vector := models.vector(where, text)) is not None:
            options["embedding"] = vector
        if explain:
            click.echo(json.dumps(run(connection, explain_call(where.name, text, options)), indent=2))
            return
        hits = _search(connection, where, text, options, rerank)
    _print(hits, where, as_json=as_json)


def _print(hits: "Hits", where: "Pipeline", *, as_json: bool) -> None:
    """Prints the hits, as lines or as JSON objects, and what the search notes to standard error."""
    for notice in hits.notices:
        click.echo(notice, err=True)
    if as_json:
        for hit in hits:
            click.echo(json.dumps(asdict(hit), ensure_ascii=False))
    else:
        if hits:
            click.echo("similarity   score  key")
        print_hits(Console(), hits, where)


def _options(given: dict[str, Any], condition: str | None) -> "SearchOptions":
    """Returns the options of search() that were given, with the filter."""
    options = cast("SearchOptions", {name: value for name, value in given.items() if value is not None})
    if condition is not None:
        options["filter"] = parse_filter(condition)
    return options


def _search(
    connection: "psycopg.Connection", where: "Pipeline", text: str, options: "SearchOptions", rerank: str | None
) -> "Hits":
    """Returns the hits; no transaction is open while a reranker works."""
    from pgembedd.search.local_models import check_unchanged
    from pgembedd.search.reranked import DEFAULT_K, Rerankers, widened, with_texts
    from pgembedd.search.run import search

    with connection.transaction():
        hits = search(connection, where.name, text, **(options if rerank is None else widened(options)))
        read = [] if rerank is None else search(connection, where.name, text, **with_texts(options))
        check_unchanged(connection, where)
    if rerank is None:
        return hits
    with closing(Rerankers()) as rerankers:
        return rerankers.rerank(rerank, text, hits, read, options.get("k", DEFAULT_K))


def chosen_pipeline(connection: "psycopg.Connection", name: str | None) -> "Pipeline":
    """Returns the pipeline of that name, or the only one there is. ConfigurationError otherwise."""
    from pgembedd.search.calls import pipelines_call
    from pgembedd.search.run import run

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


def print_hits(console: Console, hits: "Sequence[Hit]", where: "Pipeline") -> None:
    """Prints a line per hit: similarity, score, key, the number of a chunk, title and snippet."""
    from pgembedd.search.hits import title_of

    if not hits:
        console.print("Nothing was found; `pgembedd status` shows what is still queued.")
    for hit in hits:
        key = ", ".join(map(str, hit.key.values())) if isinstance(hit.key, dict) else str(hit.key)
        if hit.chunk_no is not None:
            key += f" #{hit.chunk_no}"
        similarity = "-" if hit.similarity is None else f"{hit.similarity:.2f}"
        line = Text(f"{similarity:>10} {hit.score:7.4f}  ", style="cyan")
        snippet = " ".join((hit.snippet or "").split())
        title = title_of(hit, where.text_columns)
        shown = snippet if not title or snippet.startswith(title) else f"{title}  {snippet}"
        line.append(key, style="bold").append(f"  {shown.removeprefix(key).lstrip()}", style="default")
        console.print(line, no_wrap=True, overflow="ellipsis")


def parse_filter(text: str) -> Any:
    """Returns the value of --filter. UsageError for what is no JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(
            f"""--filter is no JSON ({error}); for example --filter '{{"year": {{"$gte": 2020}}}}'."""
        ) from error
