"""`pgembedd` with a wrapper around the real model, for what cannot be done from outside the process.

`python -m tests.support.faulty_model_worker run`, with MODEL_FAULT set to

  dies:TEXT        the process ends (exit code 9) when a text that is TEXT comes to the model
  slow:SECONDS     the model's own threads are busy for so long before they look at a text
  held:PATH        they are busy until that file is there

PARSES names a file that notes claims of files, each by queue, message and read: those whose file comes to a parser, as
`parsed`, and the outcomes of their stores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from pgembedd import cli
from pgembedd.database.jobs import JobRepository
from pgembedd.database.records import FileContent, Job, ParsedFile
from pgembedd.loop import model_loader
from pgembedd.loop.parsing import FileReader, Parsing
from pgembedd.loop.task import Batch
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.providers.protocol import Ledger
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer
from tests.support.embedders import Hook, Wrapped

DIED_OF_TEXT = 9


def main() -> None:
    kind, _, what = os.environ["MODEL_FAULT"].partition(":")
    real = model_loader.loader

    def wrapped(
        settings: Settings, observer: Observer = SILENT, ledger: Ledger | None = None, *, offline: bool = False
    ) -> Callable[[str], Embedder]:
        load = real(settings, observer, ledger, offline=offline)

        def wrapping(name: str) -> Embedder:
            session = load(name)
            assert isinstance(session, Session)
            return Own(session, on_start=hook(session, kind, what))

        return wrapping

    model_loader.loader = wrapped
    if path := os.environ.get("PARSES"):
        note_parses(Path(path))
    cli.main()


def note_parses(path: Path) -> None:
    """Notes each claim before its file is passed to a parser, and after its pages are stored."""
    start, store = FileReader.start, Parsing.store

    def note(told: Iterable[tuple[Job, str]]) -> None:
        with path.open("a") as file:
            file.write("".join(f"{job.queue} {job.msg_id} {job.read_ct} {what}\n" for job, what in told))

    def started(reader: FileReader, rows: Sequence[tuple[Job, FileContent]], began: float) -> Batch[FileContent]:
        note((job, "parsed") for job, content in rows if content.file)
        return start(reader, rows, began)

    def stored(task: Parsing, results: Sequence[ParsedFile], statements: JobRepository) -> list[str]:
        outcomes = store(task, results, statements)
        note((result.job, outcome) for result, outcome in zip(results, outcomes, strict=True))
        return outcomes

    setattr(FileReader, "start", started)  # noqa: B010
    setattr(Parsing, "store", stored)  # noqa: B010


class Own(Wrapped):
    """This process's only one, so that it is closed as a real one is."""

    def close(self) -> None:
        """Wait for what runs."""
        self._session.close()


def hook(session: Session, kind: str, what: str) -> Hook:
    """What is done before texts come to the model."""
    if kind == "dies":
        return dies(what)
    return busy(session, partial(time.sleep, float(what)) if kind == "slow" else partial(await_file, Path(what)))


def dies(text: str) -> Hook:
    """Ends the process as a crash in a library would."""

    def hook(texts: Sequence[str]) -> None:
        if text in texts:
            os._exit(DIED_OF_TEXT)

    return hook


def busy(session: Session, work: Callable[[], object]) -> Hook:
    """Keeps the model's threads busy; nothing in Python can end them."""

    def hook(texts: Sequence[str]) -> None:
        for _ in range(session.threads):
            session._scheduler.submit("fresh", work)

    return hook


def await_file(path: Path) -> None:
    """Return when it is there."""
    while not path.exists():
        time.sleep(0.01)


if __name__ == "__main__":
    main()
