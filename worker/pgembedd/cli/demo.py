"""`pgembedd demo`: from an empty Postgres to search hits, or to answers of a language model."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import click
import psycopg
from rich.console import Console

from pgembedd.cli.ask import ask_and_print
from pgembedd.cli.demo_documents import Document, standard_library
from pgembedd.cli.progress_bar import watch_queue
from pgembedd.cli.search import chosen_pipeline, print_hits
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres, default_data_dir
from pgembedd.errors import ConfigurationError, PgembeddError
from pgembedd.language.endpoint import HOST_VARIABLE, host_from_environment
from pgembedd.log import configure_logging
from pgembedd.loop.model_loader import loader
from pgembedd.model import default_model
from pgembedd.model.embedder import Embedder
from pgembedd.search.run import search
from pgembedd.settings import Settings

PIPELINE = "demo"
SETTINGS = Settings(log_level="error")
SEARCHED = (
    "read a csv file into dictionaries",
    "wait for several threads to finish",
    "how do I get the size of a file",
)
CHANGED = Document(
    "colorsys", "colorsys", "Water the tomatoes on the balcony every evening, and feed them once a week."
)
CHANGED_QUESTION = "looking after vegetables in summer"
FILTERED_QUESTION, FILTER = "find all places where a pattern matches", {"module": "re"}
ANSWERED = (
    "How do I read a csv file into dictionaries?",
    "How do I wait for a thread to finish?",
    "Who won the football match yesterday?",
)
ANSWER_TIMEOUT_S = 600.0

TABLE = """
create schema if not exists demo;
create table if not exists demo.documents (
    name text primary key, module text not null, content text not null);
"""

HOW_TO_GO_ON = """
[bold]Go on from here[/]
  pgembedd search "parse dates"        ask something else
  pgembedd postgres psql               look around in SQL, for example:
      select * from pgembedd.status;
      select name from demo.documents
      order by embedding <=> (select embedding from demo.documents where name = 'csv.DictReader')
      limit 5;
  pgembedd up --http                   Postgres, a worker, and a page to look at; register tables of your own, and,
                                       from another terminal, ask in SQL:
      select name from demo.documents order by embedding <=> pgembedd.embed('parse dates') limit 5;

  make demo-answers                    questions answered by a language model from these rows
                                       (pgembedd demo --answers)

  (The command is .venv/bin/pgembedd in a checkout.)"""


@click.command("demo")
@click.option("--answers", is_flag=True, help="Ask questions about it instead: a language model answers from the rows.")
def command(answers: bool) -> None:
    """Embed Python's own documentation on a private Postgres and search it: no server, no account."""
    configure_logging(log_level="error")
    console = Console(highlight=False)
    if answers:
        check_language_server()
    data_dir = default_data_dir()
    with EmbeddedPostgres(data_dir) as server:
        Demo(server.conninfo(), data_dir.parent / "demo-worker.log", console).run(answers=answers)
    console.print(HOW_TO_GO_ON, soft_wrap=True)


def check_language_server() -> None:
    """Raises ConfigurationError where no language model's server is named."""
    if not host_from_environment():
        raise ConfigurationError(
            "The demo of answers needs a language model: start Ollama (`ollama serve`, `ollama pull mistral`) and set "
            f"{HOST_VARIABLE}=http://127.0.0.1:11434, or another server with PGEMBEDD_LANGUAGE_MODE=openaicompatible "
            "and PGEMBEDD_LANGUAGE_MODEL."
        )


class Demo:
    """The steps, each with a numbered heading. A second run embeds only changed rows."""

    _connection: psycopg.Connection
    _check_worker: Callable[[], None]

    def __init__(self, conninfo: str, log: Path, console: Console) -> None:
        """`log` is the worker's."""
        self._conninfo, self._log, self._console = conninfo, log, console
        self._number = 0

    def run(self, *, answers: bool) -> None:
        """Embeds the documents and searches them, or asks about them."""
        self._step("Migrations")
        migrate(self._conninfo)
        with (
            connect(self._conninfo, autocommit=True) as self._connection,
            worker_process(self._conninfo, self._log) as self._check_worker,
        ):
            model = self._embed_documents()
            if answers:
                self._ask()
                return
            with closing(loader(SETTINGS)(model)) as embedder:
                self._search(embedder)
                self._change()
                self._find(embedder, CHANGED_QUESTION, mode="semantic")

    def _embed_documents(self) -> str:
        """Loads the documents and waits for their vectors; returns the name of the model."""
        self._step("Documents: the docstrings of Python's own standard library")
        count = load_documents(self._connection, standard_library())
        self._console.print(f"  {count} rows in demo.documents")
        self._step("Pipeline")
        model = self._ensure_pipeline()
        self._step(f"Embedding with {model} (the worker's log: {self._log})")
        watch_queue(self._connection, PIPELINE, self._console, self._check_worker)
        embedded = _value(self._connection, "select count(embedding) from demo.documents")
        self._console.print(f"  {embedded} rows have a vector")
        return model

    def _search(self, embedder: Embedder) -> None:
        """Searches by meaning, and by meaning and words with a filter."""
        self._step("Searching in plain English, by meaning")
        for question in SEARCHED:
            self._find(embedder, question, mode="semantic")
        self._step("By meaning and by words, with a filter, as one call in SQL")
        call = f"pgembedd.search('{PIPELINE}', '{FILTERED_QUESTION}', k => 3, filter => '{json.dumps(FILTER)}')"
        self._console.print(f"  select * from {call};", soft_wrap=True, markup=False)
        self._find(embedder, FILTERED_QUESTION, filter=FILTER)

    def _change(self) -> None:
        """Changes a row, and waits for its vector."""
        self._step("Changing a row: its vector follows")
        statement = "update demo.documents set content = %(content)s where name = %(name)s"
        shown = statement.replace("%(content)s", f"'{CHANGED.text}'").replace("%(name)s", f"'{CHANGED.name}'")
        self._console.print(f"  {shown};", soft_wrap=True)
        self._connection.execute(statement, {"content": CHANGED.text, "name": CHANGED.name})
        started = time.monotonic()
        queued = "select queued > 0 from pgembedd.status where pipeline = %s"
        while _value(self._connection, queued, PIPELINE):
            self._check_worker()
            time.sleep(0.01)
        took_ms = 1000 * (time.monotonic() - started)
        self._console.print(f"  its new vector was there {took_ms:.0f} ms after the commit")

    def _find(self, embedder: Embedder, question: str, **options: Any) -> None:
        """Prints the hits of a search."""
        self._console.print(f"\n  [italic]{question}[/]")
        vector = embedder.start([question], kind="query").result().vectors[0].tolist()
        hits = search(self._connection, PIPELINE, question, k=3, embedding=vector, **options)
        print_hits(self._console, hits, chosen_pipeline(self._connection, PIPELINE))

    def _ask(self) -> None:
        """Prints the answers to three questions."""
        where = chosen_pipeline(self._connection, PIPELINE)
        self._step("Questions, answered from these rows alone")
        for question in ANSWERED:
            self._console.print(f"\n  [italic]{question}[/]")
            ask_and_print(self._connection, where, question, settings=SETTINGS, timeout_s=ANSWER_TIMEOUT_S)

    def _step(self, title: str) -> None:
        self._number += 1
        self._console.print(f"\n[bold]{self._number}. {title}[/]", soft_wrap=True)

    def _ensure_pipeline(self) -> str:
        """Creates the pipeline if it is missing; returns its model, which an existing pipeline keeps."""
        if model := _value(self._connection, "select model from pgembedd.pipelines where pipeline = %s", PIPELINE):
            return str(model)
        chosen = default_model(notify=lambda line: self._console.print(f"  {line}"))
        if chosen.notice:
            self._console.print(f"  [yellow]{chosen.notice}[/]", soft_wrap=True)
        self._connection.execute(
            "select pgembedd.create_pipeline(pipeline => %s, source => 'demo.documents', model => %s, "
            "content_columns => array['name', 'content'])",
            (PIPELINE, chosen.name),
        )
        return chosen.name


def load_documents(connection: psycopg.Connection, documents: list[Document]) -> int:
    """Inserts new documents, updates changed ones; returns the number of rows."""
    connection.execute(TABLE)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("create temp table loading (name text, module text, content text) on commit drop")
        with cursor.copy("copy loading (name, module, content) from stdin") as copy:
            for document in documents:
                copy.write_row((document.name, document.module, document.text.replace("\0", "")))
        cursor.execute(
            "insert into demo.documents (name, module, content) select * from loading on conflict (name) "
            "do update set content = excluded.content where documents.content <> excluded.content"
        )
    return int(_value(connection, "select count(*) from demo.documents"))


@contextmanager
def worker_process(conninfo: str, log: Path) -> Iterator[Callable[[], None]]:
    """Runs a worker in a process, drained at the end; yields what raises where it has ended by itself.

    The password is in the environment, not in an argument.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pgembedd", "run"],
            env={**os.environ, "DATABASE_URL": conninfo},
            stdout=output,
            stderr=output,
        )

        def check() -> None:
            if process.poll() is not None:
                raise PgembeddError(f"The worker ended by itself (exit code {process.returncode}); see {log}.")

        try:
            yield check
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _value(connection: psycopg.Connection, statement: LiteralString, *parameters: object) -> Any:
    """Returns the first column of the first row; None where there is no row."""
    row = connection.execute(statement, parameters or None).fetchone()
    return row[0] if row else None
