"""The steps of the demo: from an empty Postgres to a search hit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from pgembedd.cli.demo_documents import Document, standard_library
from pgembedd.cli.progress_bar import watch_queue
from pgembedd.cli.search import chosen_pipeline, print_hits
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.errors import PgembeddError
from pgembedd.loop.model_loader import loader
from pgembedd.model import default_model
from pgembedd.model.embedder import Embedder
from pgembedd.search.run import search
from pgembedd.settings import Settings

PIPELINE = "demo"
QUESTIONS = (
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


def run_demo(conninfo: str, log: Path, console: Console) -> None:
    """Loads, embeds, searches, changes a row, searches again. A second run embeds only changed rows."""
    step = Step(console)
    step("Migrations")
    migrate(conninfo)
    with connect(conninfo, autocommit=True) as connection, worker_process(conninfo, log) as check_worker:
        model = documents_embedded(connection, step, console, check_worker, log)
        embedder = loader(Settings(log_level="error"))(model)
        step("Searching in plain English, by meaning")
        for question in QUESTIONS:
            _ask(connection, embedder, question, console, mode="semantic")
        step("By meaning and by words, with a filter, as one call in SQL")
        call = f"pgembedd.search('{PIPELINE}', '{FILTERED_QUESTION}', k => 3, filter => '{json.dumps(FILTER)}')"
        console.print(f"  select * from {call};", soft_wrap=True, markup=False)
        _ask(connection, embedder, FILTERED_QUESTION, console, filter=FILTER)
        step("Changing a row: its vector follows")
        _change(connection, console, check_worker)
        _ask(connection, embedder, CHANGED_QUESTION, console, mode="semantic")
        embedder.close()


def documents_embedded(
    connection: psycopg.Connection, step: "Step", console: Console, check_worker: "WorkerCheck", log: Path
) -> str:
    """Loads the documents and waits for their vectors; returns the name of the model."""
    step("Documents: the docstrings of Python's own standard library")
    count = load_documents(connection, standard_library())
    console.print(f"  {count} rows in demo.documents")
    step("Pipeline")
    model = ensure_pipeline(connection, console)
    step(f"Embedding with {model} (the worker's log: {log})")
    watch_queue(connection, PIPELINE, console, check_worker)
    console.print(f"  {_embedded(connection)} rows have a vector")
    return model


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
    row = connection.execute("select count(*) from demo.documents").fetchone()
    return int(row[0]) if row else 0


def ensure_pipeline(connection: psycopg.Connection, console: Console) -> str:
    """Creates the pipeline if it is missing; returns its model, which an existing pipeline keeps."""
    row = connection.execute("select model from pgembedd.pipeline where name = %s", (PIPELINE,)).fetchone()
    if row is not None:
        return str(row[0])
    chosen = default_model(notify=lambda line: console.print(f"  {line}"))
    if chosen.notice:
        console.print(f"  [yellow]{chosen.notice}[/]", soft_wrap=True)
    connection.execute(
        "select pgembedd.create_pipeline(name => %s, source => 'demo.documents', model => %s, "
        "content_columns => array['name', 'content'])",
        (PIPELINE, chosen.name),
    )
    return chosen.name


@contextmanager
def worker_process(conninfo: str, log: Path) -> Iterator["WorkerCheck"]:
    """Runs a worker in a process, drained at the end. The password is in the environment, not in an argument."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pgembedd", "run"],
            env={**os.environ, "DATABASE_URL": conninfo},
            stdout=output,
            stderr=output,
        )
        try:
            yield WorkerCheck(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


class WorkerCheck:
    """Raises when the worker has ended: the queue would never become empty."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process, self._log = process, log

    def __call__(self) -> None:
        if self._process.poll() is not None:
            raise PgembeddError(f"The worker ended by itself (exit code {self._process.returncode}); see {self._log}.")


class Step:
    """Prints numbered headings."""

    def __init__(self, console: Console) -> None:
        self._console, self._number = console, 0

    def __call__(self, title: str) -> None:
        self._number += 1
        self._console.print(f"\n[bold]{self._number}. {title}[/]", soft_wrap=True)


def _embedded(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(embedding) from demo.documents").fetchone()
    return int(row[0]) if row else 0


def _ask(
    connection: psycopg.Connection,
    embedder: Embedder,
    question: str,
    console: Console,
    **options: Any,
) -> None:
    console.print(f"\n  [italic]{question}[/]")
    vector = embedder.start([question], kind="query").result().vectors[0].tolist()
    hits = search(connection, PIPELINE, question, k=3, embedding=vector, **options)
    print_hits(console, hits, chosen_pipeline(connection, PIPELINE))


def _change(connection: psycopg.Connection, console: Console, check_worker: WorkerCheck) -> None:
    statement = "update demo.documents set content = %(content)s where name = %(name)s"
    shown = statement.replace("%(content)s", f"'{CHANGED.text}'").replace("%(name)s", f"'{CHANGED.name}'")
    console.print(f"  {shown};", soft_wrap=True)
    connection.execute(statement, {"content": CHANGED.text, "name": CHANGED.name})
    started = time.monotonic()
    while not _queue_is_empty(connection):
        check_worker()
        time.sleep(0.01)
    console.print(f"  its new vector was there {1000 * (time.monotonic() - started):.0f} ms after the commit")


def _queue_is_empty(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "select queued + backfill = 0 from pgembedd.status where pipeline = %s", (PIPELINE,)
    ).fetchone()
    return bool(row and row[0])
