"""Worker processes under measurement, and their log, which tells what was committed without asking the database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres

PATIENCE_S = 600.0
DONE = ("written", "unchanged", "cleared", "gone")


@contextmanager
def private_server(folder: Path | None = None, /, **settings: str) -> Iterator[EmbeddedPostgres]:
    """A migrated Postgres of this run's own, with Postgres's defaults for durability; `settings` win over ours.

    What it holds stays in the `folder`, if one is given.
    """
    with ExitStack() as stack:
        parent = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="pgembedd-bench-")))
        parent.mkdir(parents=True, exist_ok=True)
        parent.chmod(0o711)
        server = stack.enter_context(EmbeddedPostgres(parent / "postgres", settings=settings))
        migrate(server.conninfo())
        yield server


@contextmanager
def database(folder: Path | None = None, /, **settings: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection to such a server, and its address."""
    with (
        private_server(folder, **settings) as server,
        psycopg.connect(server.conninfo(), autocommit=True) as connection,
    ):
        yield connection, server.conninfo()


def await_that(condition: Callable[[], bool], complaint: Callable[[], str], pause_s: float = 0.001) -> float:
    """Return once it holds; the time on the clock of `time.perf_counter`. RuntimeError where that takes too long."""
    deadline = time.perf_counter() + PATIENCE_S
    while not condition():
        if time.perf_counter() > deadline:
            raise RuntimeError(complaint())
        time.sleep(pause_s)
    return time.perf_counter()


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid() has it


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(pid: int) -> int:
    """The most memory that was resident of a process, with what it shares."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class WorkerProcess:
    """`pgembedd run` as its users start it, or with the null model; `done` counts the jobs it has finished."""

    def __init__(
        self, conninfo: str, *arguments: str, module: str = "pgembedd", python: str = sys.executable, **environment: str
    ) -> None:
        """Start it. `module` is `pgembedd` or `bench.null_worker`; `environment` are its settings.

        It remembers no vectors unless they say so: the texts of a bench come again in each of its rounds.
        """
        ours = ("PGEMBEDD_CACHE_DIR", "PGEMBEDD_MODEL_DIR")
        kept = {k: v for k, v in os.environ.items() if k in ours or not k.startswith(("PG", "DATABASE_URL"))}
        self._lines: list[str] = []
        self.events = Counter("")
        self.done = 0
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [python, "-m", module, "run", "--log-format", "json", *arguments],
            env={**kept, "PGEMBEDD_VECTOR_CACHE_MB": "0", "DATABASE_URL": conninfo, **environment},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event: dict[str, Any] = {}
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line[max(0, line.find("{")) :])  # behind Ray's name of the worker
            self._lines = [*self._lines[-20:], line]
            self.events[str(event.get("event", ""))] += 1
            if event.get("event") == "stored":
                self.done += sum(event.get(outcome, 0) for outcome in DONE)

    def check(self) -> None:
        """RuntimeError when it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"A worker has ended; it said last: {''.join(self._lines)}")

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return rss_bytes(self.process.pid)

    def stop(self) -> None:
        """SIGTERM, and wait for the end of the drain."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Fleet:
    """Some workers that share their queues; `done` counts what all have finished."""

    def __init__(self, members: Sequence[WorkerProcess]) -> None:
        self.members = members

    @property
    def done(self) -> int:
        return sum(member.done for member in self.members)

    def await_done(self, count: int, pause_s: float = 0.001) -> float:
        """Return once they have finished `count` jobs; the time on the clock of `time.perf_counter`."""
        return self.await_that(lambda: self.done >= count, f"{count} jobs", pause_s)

    def await_that(self, condition: Callable[[], bool], what: str, pause_s: float = 0.001) -> float:
        """The same for any condition. RuntimeError when a worker ends before."""

        def reached() -> bool:
            for member in self.members:
                member.check()
            return condition()

        return await_that(reached, lambda: f"The workers did not come to {what}; {self.done} jobs are done.", pause_s)


@contextmanager
def fleet(
    conninfo: str, size: int = 1, module: str = "pgembedd", until: str = "worker_started", **environment: str
) -> Iterator[Fleet]:
    """Workers that have logged the event `until`, "" for none; by default they have loaded their model and wait."""
    with ExitStack() as stack:
        workers = Fleet([WorkerProcess(conninfo, module=module, **environment) for _ in range(size)])
        for each in workers.members:
            stack.callback(each.stop)
        workers.await_that(lambda: all(until in each.events for each in workers.members if until), until)
        yield workers


@contextmanager
def held_back(workers: Fleet) -> Iterator[None]:
    """The workers stand still (SIGSTOP), so that what is written meanwhile is queued before they begin."""
    for member in workers.members:
        os.kill(member.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in workers.members:
            os.kill(member.process.pid, signal.SIGCONT)
