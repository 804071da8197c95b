"""`pgembedd demo`: from an empty Postgres to search hits, or to answers of a language model."""

import json
import time

import click
import psycopg
from rich.console import Console

from pgembedd.cli.demo_documents import Document, standard_library
from pgembedd.cli.demo_files import FilesDemo
from pgembedd.cli.demo_steps import Demo
from pgembedd.embedded_postgres import EmbeddedPostgres, default_data_dir
from pgembedd.errors import ConfigurationError
from pgembedd.language.endpoint import HOST_VARIABLE, host_from_environment
from pgembedd.log import configure_logging
from pgembedd.model.embedder import Embedder

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
TABLE = """
create schema if not exists demo;
create table if not exists demo.documents (
    name text primary key, module text not null, content text not null);
"""

GO_ON = """
[bold]Go on from here[/]
{hints}
  (The command is .venv/bin/pgembedd in a checkout.)"""


@click.command("demo")
@click.option("--documents", is_flag=True, help="Parse and search PDF manuals instead: hits with page and headings.")
@click.option("--answers", is_flag=True, help="Ask questions about it instead: a language model answers from the rows.")
def command(documents: bool, answers: bool) -> None:
    """Embed Python's own documentation on a private Postgres and search it: no server, no account."""
    configure_logging(log_level="error")
    console = Console(highlight=False)
    if answers:
        check_language_server()
    data_dir = default_data_dir()
    with EmbeddedPostgres(data_dir) as server:
        demo = (FilesDemo if documents else LibraryDemo)(
            server.conninfo(), data_dir.parent / "demo-worker.log", console
        )
        if documents:
            demo.run(searches=True, answers=bool(host_from_environment()))
        else:
            demo.run(searches=not answers, answers=answers)
    console.print(GO_ON.format(hints=demo.go_on), soft_wrap=True)


def check_language_server() -> None:
    """Raises ConfigurationError where no language model's server is named."""
    if not host_from_environment():
        raise ConfigurationError(
            "The demo of answers needs a language model: start Ollama (`ollama serve`, `ollama pull mistral`) and set "
            f"{HOST_VARIABLE}=http://127.0.0.1:11434, or another server with PGEMBEDD_LANGUAGE_MODE=openaicompatible "
            "and PGEMBEDD_LANGUAGE_MODEL."
        )


class LibraryDemo(Demo):
    """The docstrings of Python's own standard library."""

    pipeline = "demo"
    answered = (
        "How do I read a csv file into dictionaries?",
        "How do I wait for a thread to finish?",
        "Who won the football match yesterday?",
    )
    go_on = """  pgembedd search "parse dates"        ask something else
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
  make demo-documents                  PDF manuals, parsed, embedded and searched: hits with page and headings
                                       (pgembedd demo --documents)
"""

    def embed(self) -> str:
        """Loads the documents and waits for their vectors; returns the name of the model."""
        self.step("Documents: the docstrings of Python's own standard library")
        self.tell(f"{load_documents(self.connection, standard_library())} rows in demo.documents")
        self.step("Pipeline")
        model = self.model()
        self.connection.execute(
            "select pgembedd.create_pipeline(pipeline => %s, source => 'demo.documents', model => %s, "
            "content_columns => array['name', 'content'], if_not_exists => true)",
            (self.pipeline, model),
        )
        self.wait(self.pipeline, f"Embedding with {model}")
        self.tell(f"{self.value('select count(embedding) from demo.documents')} rows have a vector")
        return model

    def search(self, embedder: Embedder) -> None:
        """Searches by meaning, and by meaning and words with a filter; changes a row, and searches for it."""
        self.step("Searching in plain English, by meaning")
        for question in SEARCHED:
            self.find(embedder, question, mode="semantic")
        self.step("By meaning and by words, with a filter, as one call in SQL")
        call = f"pgembedd.search('{self.pipeline}', '{FILTERED_QUESTION}', k => 3, filter => '{json.dumps(FILTER)}')"
        self.tell(f"select * from {call};")
        self.find(embedder, FILTERED_QUESTION, filter=FILTER)
        self._change()
        self.find(embedder, CHANGED_QUESTION, mode="semantic")

    def _change(self) -> None:
        """Changes a row, and waits for its vector."""
        self.step("Changing a row: its vector follows")
        statement = "update demo.documents set content = %(content)s where name = %(name)s"
        shown = statement.replace("%(content)s", f"'{CHANGED.text}'").replace("%(name)s", f"'{CHANGED.name}'")
        self.tell(f"{shown};")
        self.connection.execute(statement, {"content": CHANGED.text, "name": CHANGED.name})
        started = time.monotonic()
        while self.value("select queued > 0 from pgembedd.status where pipeline = %s", self.pipeline):
            self.check_worker()
            time.sleep(0.01)
        took_ms = 1000 * (time.monotonic() - started)
        self.tell(f"its new vector was there {took_ms:.0f} ms after the commit")


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
        row = cursor.execute("select count(*) from demo.documents").fetchone()
        return int(row[0]) if row else 0
