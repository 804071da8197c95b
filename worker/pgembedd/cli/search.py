"""`pgembedd search`"""

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from pgembedd.cli.options import database_option, open_connection, settings_options
from pgembedd.search.semantic import MAX_LIMIT, Hit

if TYPE_CHECKING:
    from pgembedd.settings import Settings


@click.command("search")
@click.argument("text")
@database_option
@click.option("--pipeline", "-p", help="Which pipeline's rows; needed when there are several.")
@click.option("--limit", "-n", type=click.IntRange(1, MAX_LIMIT), default=5, show_default=True, help="How many hits.")
@settings_options("model_dir", "precision")
def command(text: str, database: str | None, pipeline: str | None, limit: int, settings: "Settings") -> None:
    """Find rows by meaning: embeds TEXT with the pipeline's own model and prints the nearest rows."""
    from pgembedd.log import configure_logging
    from pgembedd.loop.model_loader import loader
    from pgembedd.search.semantic import search, target

    configure_logging(log_level="warning")
    if not text.strip():
        raise click.UsageError("The text to search for is empty.")
    with open_connection(database) as connection:
        where = target(connection, pipeline)
        embedder = loader(settings)(where.model)
        hits = search(connection, where, embedder, text, limit)
        embedder.close()
    print_hits(Console(), hits)


def print_hits(console: Console, hits: list[Hit]) -> None:
    """Prints a line per hit: distance, key, the number of a chunk, the beginning of the content."""
    if not hits:
        console.print("No row has a vector yet; `pgembedd status` shows what is queued.")
    for hit in hits:
        key = ", ".join(str(value) for value in hit.key.values())
        if hit.chunk_no is not None:
            key += f" #{hit.chunk_no}"
        line = Text(f"{hit.distance:7.4f}  ", style="cyan")
        line.append(key, style="bold").append("  " + _beginning(hit), style="default")
        console.print(line, no_wrap=True, overflow="ellipsis")


def _beginning(hit: Hit) -> str:
    """Returns the content on one line, without the key where it starts with that."""
    content = " ".join(hit.content.split())
    for value in hit.key.values():
        content = content.removeprefix(str(value)).lstrip()
    return content
