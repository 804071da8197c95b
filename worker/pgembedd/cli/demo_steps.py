"""The parts that the demos have in common: a private Postgres, a worker, numbered steps, searches and questions."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, LiteralString

import psycopg
from rich.console import Console

from pgembedd.cli.ask import ask_and_print
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

SETTINGS = Settings(log_level="error")
ANSWER_TIMEOUT_S = 600.0


class Demo:
    """The steps, each with a numbered heading. A second run embeds only changed rows."""

    pipeline: ClassVar[str]
    answered: ClassVar[tuple[str, ...]]
    """Questions."""
    go_on: ClassVar[str]
    """What may be done next."""

    connection: psycopg.Connection
    _check_worker: Callable[[], None]

    def __init__(self, conninfo: str, log: Path, console: Console) -> None:
        """`log` is the worker's."""
        self._conninfo, self._log, self.console = conninfo, log, console
        self._number = 0

    def run(self, *, searches: bool, answers: bool) -> None:
        """Embeds the documents, searches them, and asks about them."""
        self.step("Migrations")
        migrate(self._conninfo)
        with (
            connect(self._conninfo, autocommit=True) as self.connection,
            worker_process(self._conninfo, self._log) as self._check_worker,
        ):
            model = self.embed()
            if searches:
                with closing(loader(SETTINGS)(model)) as embedder:
                    self.search(embedder)
            if answers:
                self._ask()

    def embed(self) -> str:
        """Loads the documents and waits for their vectors; returns the name of the model."""
        raise NotImplementedError

    def search(self, embedder: Embedder) -> None:
        """Searches the documents."""
        raise NotImplementedError

    def find(self, embedder: Embedder, question: str, **options: Any) -> None:
        """Prints the hits of a search."""
        self.console.print(f"\n  [italic]{question}[/]")
        vector = embedder.start([question], kind="query").result().vectors[0].tolist()
        hits = search(self.connection, self.pipeline, question, k=3, embedding=vector, **options)
        print_hits(self.console, hits, chosen_pipeline(self.connection, self.pipeline))

    def _ask(self) -> None:
        """Prints the answers to the questions."""
        where = chosen_pipeline(self.connection, self.pipeline)
        self.step("Questions, answered from these rows alone")
        for question in self.answered:
            self.console.print(f"\n  [italic]{question}[/]")
            ask_and_print(self.connection, where, question, settings=SETTINGS, timeout_s=ANSWER_TIMEOUT_S)

    def step(self, title: str) -> None:
        """Prints a heading."""
        self._number += 1
        self.console.print(f"\n[bold]{self._number}. {title}[/]", soft_wrap=True)

    def wait(self, pipeline: str, doing: str) -> None:
        """Waits until nothing of a pipeline is queued."""
        self.step(f"{doing} (the worker's log: {self._log})")
        watch_queue(self.connection, pipeline, self.console, self.check_worker)

    def check_worker(self) -> None:
        """Raises PgembeddError where the worker has ended."""
        self._check_worker()

    def model(self) -> str:
        """Returns the model of the pipeline, else the one that a new pipeline is to have."""
        if model := self.value("select model from pgembedd.pipelines where pipeline = %s", self.pipeline):
            return str(model)
        chosen = default_model(notify=self.tell)
        if chosen.notice:
            self.console.print(f"  [yellow]{chosen.notice}[/]", soft_wrap=True)
        return chosen.name

    def tell(self, line: str) -> None:
        """Prints a line of a step."""
        self.console.print(f"  {line}", soft_wrap=True, markup=False)

    def value(self, statement: LiteralString, *parameters: object) -> Any:
        """Returns the first column of the first row; None where there is no row."""
        row = self.connection.execute(statement, parameters or None).fetchone()
        return row[0] if row else None


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
