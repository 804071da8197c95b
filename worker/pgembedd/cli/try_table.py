"""`pgembedd try`"""

import itertools
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pgembedd.cli.options import FEW, IntegerRange, database_option, open_database, print_json, settings_options
from pgembedd.cli.search import print_hits
from pgembedd.database.connect import connect
from pgembedd.database.queries import literal
from pgembedd.loop.model_loader import loader
from pgembedd.model import default_model
from pgembedd.model.catalogue import model_in_folder
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings
from pgembedd.model.specs import DEFAULT_MODEL, REGISTRY
from pgembedd.search.hits import Hit, Pipeline
from pgembedd.search.trial import Row, TrialTable, find_table, hits_of, sample
from pgembedd.settings import Settings
from pgembedd.text.quantities import counted


@click.command("try")
@click.argument("text", required=False)
@database_option
@click.option("--table", required=True, metavar="NAME", help="The table, as in SQL: public.articles.")
@click.option("--columns", required=True, metavar="NAMES", help="The columns of its texts: title,body.")
@click.option("--model", "-m", help=f"The model; default: {DEFAULT_MODEL}, or what stands in for it where it is not.")
@click.option("--k", "-n", type=IntegerRange(1), default=FEW, show_default=True, help="How many hits at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options("model_dir", "precision", "device", "threads")
def command(
    text: str | None,
    database: str | None,
    table: str,
    columns: str,
    model: str | None,
    k: int,
    as_json: bool,
    settings: Settings,
) -> None:
    """Search a sample of a table by meaning, in memory; nothing is written to the database.

    Without TEXT it asks for queries. It then prints the call of create_pipeline() that embeds every row.
    """
    content_columns = _names(columns)
    with open_database(database) as conninfo:
        _check_text(text, as_json=as_json)
        found, rows = _sampled(conninfo, table, content_columns)
    with closing(loader(settings)(model or _default_model(settings))) as embedder:
        embeddings = embedder.start([content for _, content in rows]).result()
        trial = Trial(found, content_columns, rows, embedder, embeddings, k)
        if as_json:
            print_json(trial.as_json(str(text)))
            return
        _search(trial, text)
        click.echo(trial.advice())


def _check_text(text: str | None, *, as_json: bool) -> None:
    """Raises UsageError where there is no text, and no terminal that could be asked for one."""
    if text is None and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("Give a TEXT to search for: only a terminal is asked for one.")


def _sampled(conninfo: str, table: str, content_columns: list[str]) -> tuple[TrialTable, list[Row]]:
    with connect(conninfo, autocommit=True) as connection:
        found = find_table(connection, table, content_columns)
        return found, sample(connection, found, content_columns)


def _names(columns: str) -> list[str]:
    """Returns names that are separated by commas, without the quotes of SQL."""
    names = [name.strip() for name in columns.split(",")]
    if not all(names):
        raise click.BadParameter("Name columns with commas between them: title,body.", param_hint="--columns")
    return [name[1:-1].replace('""', '"') if re.fullmatch('".+"', name) else name for name in names]


def _default_model(settings: Settings) -> str:
    if settings.model_dir:
        return model_in_folder(Path(settings.model_dir))[0]
    chosen = default_model(notify=_say)
    if chosen.notice:
        _say(chosen.notice)
    return chosen.name


def _say(line: str) -> None:
    click.echo(line, err=True)


@dataclass(frozen=True)
class Trial:
    """The sampled rows of a table with their vectors."""

    table: TrialTable
    content_columns: list[str]
    rows: Sequence[Row]
    embedder: Embedder
    embeddings: Embeddings
    k: int

    @property
    def truncated(self) -> int:
        """The number of sampled texts that are longer than what goes into one vector."""
        return int((self.embeddings.dropped > 0).sum())

    def hits(self, text: str) -> list[Hit]:
        """Returns the sampled rows that are the most similar to a query."""
        (vector,) = self.embedder.start([text], kind="query").result().vectors
        return hits_of(self.rows, self.embeddings.vectors, vector, self.k)

    def summary(self) -> str:
        """Returns what was sampled."""
        found = f"{counted(len(self.rows), 'row')} of {self.table.name}, embedded in memory with {self.embedder.name}"
        long = f"; {self.truncated:,} of them are longer than what goes into one vector" if self.truncated else ""
        return f"{found}{long}."

    def advice(self) -> str:
        """Returns the steps that embed every row for good."""
        first = [] if self.table.has_pgembedd else ["$ pgembedd migrate"]
        steps = [*first, f"=> {self.call()}", "$ pgembedd run"]
        return "\n  ".join(["\nTo embed every row, and each change from then on:", *steps])

    def call(self) -> str:
        """Returns the call of create_pipeline() for this table; with chunks where many texts are long."""
        table = self.table
        arguments = [literal(_free(_pipeline_name(table.relation), table.pipelines)), literal(table.name)]
        arguments.append(f"array[{', '.join(map(literal, self.content_columns))}]")
        if self.truncated * 20 > len(self.rows):  # as _propose_chunks() in SQL
            free = _free(f"{table.relation}_embeddings", table.embedding_tables)
            arguments.append(f"embedding_table => {literal(free)}")
        elif "embedding" in table.columns:
            free = _free(f"{self.content_columns[0]}_embedding", table.columns)
            arguments.append(f"embedding_column => {literal(free)}")
        if self.embedder.name != DEFAULT_MODEL:
            arguments.append(f"model => {literal(self.embedder.name)}")
        if self.embedder.name not in REGISTRY:
            arguments.append(f"dimensions => {self.embedder.dims}")
        return f"select pgembedd.create_pipeline({', '.join(arguments)});"

    def as_json(self, text: str) -> dict[str, Any]:
        """Returns hits and call as one object."""
        hits = [{"key": hit.key, "similarity": hit.similarity, "snippet": hit.snippet} for hit in self.hits(text)]
        return {
            "table": self.table.name,
            "model": self.embedder.name,
            "sampled": len(self.rows),
            "truncated": self.truncated,
            "hits": hits,
            "create_pipeline": self.call(),
        }


def _search(trial: Trial, text: str | None) -> None:
    """Prints what was sampled, and the hits of the query, or of each that is typed until an empty line."""
    _say(trial.summary())
    if text is not None:
        _print(trial, text)
        return
    while query_text := click.prompt("Search for (empty: end)", default="", show_default=False).strip():
        _print(trial, query_text)


def _print(trial: Trial, text: str) -> None:
    where = Pipeline("", trial.table.name, "", None, "cosine", False, trial.table.key_columns, [], {})
    click.echo("similarity   score  key")
    print_hits(Console(), trial.hits(text), where)


def _pipeline_name(relation: str) -> str:
    """Returns the table's name as far as a pipeline's may be like it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", relation).lstrip("-.")[:63] or "documents"


def _free(name: str, taken: Sequence[str]) -> str:
    """Returns the name, or where it is taken the first of `name_2`, `name_3`, … that is not."""
    names = itertools.chain([name], (f"{name[:58]}_{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in taken)
