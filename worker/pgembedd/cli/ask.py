"""`pgembedd ask`"""

import json
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

import click
import psycopg

from pgembedd.answers.options import AskOptions
from pgembedd.answers.questions import Question, Questions
from pgembedd.answers.watch import follow
from pgembedd.cli.options import (
    database_option,
    declared_options,
    open_connection,
    print_json,
    settings_options,
    timeout_option,
)
from pgembedd.cli.search import chosen_pipeline
from pgembedd.database.answers import AnswerEvent
from pgembedd.database.connect import reopened
from pgembedd.errors import GenerationError
from pgembedd.loop.model_loader import loader
from pgembedd.search.hits import Pipeline
from pgembedd.search.local_models import LocalModels
from pgembedd.search.run import in_transactions
from pgembedd.settings import Settings
from pgembedd.text.unicode import storable


@click.command("ask")
@click.argument("question")
@click.argument("pipeline", required=False)
@database_option
@declared_options(AskOptions)
@timeout_option("Seconds to wait for a next part.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each event.")
@settings_options("model_dir", "precision", "device")
def command(
    question: str,
    pipeline: str | None,
    database: str | None,
    timeout_s: float,
    as_json: bool,
    settings: Settings,
    **options: Any,
) -> None:
    """Answer QUESTION from a pipeline's table: ask() in SQL, as the role of the connection.

    A worker with a language model writes the answer, which is printed as it comes, with the sources that it cites.
    Ctrl-C stops it.
    """
    with open_connection(database) as connection:
        where = chosen_pipeline(connection, pipeline)
        ask_and_print(connection, where, question, settings=settings, timeout_s=timeout_s, as_json=as_json, **options)


def ask_and_print(
    connection: psycopg.Connection,
    where: Pipeline,
    question: str,
    *,
    settings: Settings,
    timeout_s: float,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Asks with the arguments of ask() in SQL, and prints what comes. GenerationError where the answer fails."""
    # A follow-up is searched with the questions before it, which are known in SQL only.
    vector = _vector(settings, where, question) if options.get("thread") is None else None
    questions = Questions(in_transactions(connection))
    answer = questions.ask(Question(where.name, storable(question), embedding=vector, **options)).id
    try:
        for shown in follow(connection, answer, timeout_s=timeout_s):
            if as_json:
                _print_json(questions, answer, shown)
            else:
                _print(questions, answer, shown)
            _raise_error(shown)
    except KeyboardInterrupt:
        # It may have come in the midst of a statement, after which this connection takes no other.
        with reopened(connection) as own:
            stopped = Questions(in_transactions(own)).stop(answer)
        if stopped:
            click.echo("\nThe answer was stopped.", err=True)
        raise


def _vector(settings: Settings, where: Pipeline, question: str) -> list[float] | None:
    """Returns the question's vector where the model's files are on this machine, and the question is not blank."""
    with closing(LocalModels(loader(settings, offline=True))) as models:
        return models.vector(where, question) if question.strip() else None


def _print_json(questions: Questions, answer: UUID, shown: AnswerEvent) -> None:
    data = {"sources": questions.sources(answer)} if shown.name == "sources" else shown.data
    print_json({"answer": str(answer), "seq": shown.seq, "event": shown.name, "data": data})


def _print(questions: Questions, answer: UUID, shown: AnswerEvent) -> None:
    if shown.name == "delta":
        click.echo(_printable(shown.data["text"]), nl=False)
        sys.stdout.flush()
    elif shown.name == "status" and shown.data.get("attempt", 0) > 1 and shown.data["status"] == "generating":
        click.echo(f"\nAttempt {shown.data['attempt']}: the answer begins again.", err=True)
    elif shown.name == "status" and shown.data["status"] == "queued" and shown.data.get("reason"):
        click.echo(f"\nAn attempt failed: {shown.data['reason']} Another one follows.", err=True)
    elif shown.name == "done":
        click.echo()
        _print_sources(questions, answer, shown.data.get("citations") or [])
        if shown.data["status"] == "stopped":
            click.echo("The answer was stopped.", err=True)
        for note in shown.data.get("notes", []):
            click.echo(note, err=True)


def _print_sources(questions: Questions, answer: UUID, cited: Sequence[int]) -> None:
    """Prints a line for each source: those that are cited, then those that were found besides."""
    found = sorted(questions.sources(answer), key=lambda one: (one["n"] not in cited, one["n"]))
    for nth, one in enumerate(found):
        if one["n"] not in cited and nth == len(cited):
            click.echo("Found, but not cited:")
        link = one["url"] or ("" if one["place"] else json.dumps(one["key"], ensure_ascii=False))
        mark = click.style(f"[{one['n']}]", fg="cyan", bold=one["n"] in cited)
        click.echo(f"{mark} {_printable(one['title'] or '')}{f' ({_printable(link)})' if link else ''}")


def _printable(text: str) -> str:
    """Returns the text without what a terminal would take for a command, as a row may hold it."""
    return "".join(character for character in text if character in "\n\t" or unicodedata.category(character) != "Cc")


def _raise_error(shown: AnswerEvent) -> None:
    if shown.name == "error":
        click.echo(err=True)
        raise GenerationError(str(shown.data.get("message")))
