"""Progress bars: of a known number of steps, and of a pipeline's queue, with rate and time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from pgembedd.database.queries import query
from pgembedd.errors import PgembeddError
from pgembedd.text.quantities import counted

REFRESH_EVERY_S = 0.5


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


@contextmanager
def progress_bar(title: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total), which shows a bar on standard error if that is a terminal and `shown`."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield lambda _done, _total: None
        return
    with Progress(*_columns(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def watch_queue(
    connection: psycopg.Connection, pipeline: str, console: Console, check_worker: Callable[[], None] = lambda: None
) -> None:
    """Returns when no job of the pipeline is queued. PgembeddError when it does not run; `check_worker` may raise."""
    total = _waiting(connection, pipeline)[0]
    columns = (SpinnerColumn(), *_columns(), TextColumn("{task.fields[rate]}"))
    started = time.monotonic()
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task(pipeline, total=total, rate="")
        while True:
            check_worker()
            waiting, workers = _waiting(connection, pipeline)
            total = max(total, waiting)
            done = total - waiting
            rate = f"{done / (time.monotonic() - started):.0f} rows/s" if workers else "waiting for a worker"
            progress.update(task, total=total, completed=done, rate=rate)
            if not waiting:
                return
            time.sleep(REFRESH_EVERY_S)


def _waiting(connection: psycopg.Connection, pipeline: str) -> tuple[int, int]:
    """(jobs queued, workers connected)."""
    row = connection.execute(query("waiting"), {"name": pipeline}).fetchone()
    if row is None:
        raise PgembeddError(f'There is no pipeline "{pipeline}".')
    state, reason, waiting, workers = row
    if waiting and state != "running":
        raise PgembeddError(f'The pipeline "{pipeline}" is {state}, with {counted(waiting, "job")} waiting: {reason}')
    return waiting, workers
