"""Worker processes under measurement, and what they say: the log tells what was committed, so nobody polls for it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres

PATIENCE_S = 600.0
DONE = ("written", "unchanged", "cleared", "gone")


@contextmanager
def private_server(**settings: str) -> Iterator[EmbeddedPostgres]:
    """A migrated Postgres of this run's own, with Postgres's defaults for durability; `settings` win over ours."""
    with tempfile.TemporaryDirectory(prefix="pgembedd-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres", settings=settings) as server:
            migrate(server.conninfo())
            yield server


class WorkerProcess:
    """`pgembedd run` as its users start it, or with the null model; `done` counts the jobs it has finished."""

    def __init__(self, conninfo: str, *, module: str = "pgembedd", **environment: str) -> None:
        """Start it. `module` is `pgembedd` or `bench.null_worker`; `environment` are its settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
        kept = {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR", "PGEMBEDD_MODEL_DIR") if name in os.environ}
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self.events: list[tuple[float, str]] = []
        self.done = 0
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "run", "--log-format", "json"],
            env={**inherited, **kept, "DATABASE_URL": conninfo, **environment},
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
                event = json.loads(line)
            with self._changed:
                self._lines = [*self._lines[-20:], line]
                self.events.append((time.perf_counter(), str(event.get("event", ""))))
                if event.get("event") == "stored":
                    self.done += sum(event.get(outcome, 0) for outcome in DONE)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def await_event(self, name: str) -> float:
        """When it logged that event first, on the clock of `time.perf_counter`. RuntimeError if it ends before."""
        self._await(lambda: any(event == name for _, event in self.events), name)
        return next(at for at, event in self.events if event == name)

    def await_done(self, count: int) -> float:
        """Return once `count` jobs are committed; the time on the clock of `time.perf_counter`."""
        self._await(lambda: self.done >= count, f"{count} jobs")
        return time.perf_counter()

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            reached = self._changed.wait_for(lambda: condition() or self.process.poll() is not None, PATIENCE_S)
            if not reached or not condition():
                raise RuntimeError(f"The worker did not come to {what}; it said last: {''.join(self._lines)}")

    def rss_bytes(self) -> int:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        """CPU seconds it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """SIGTERM, and wait for the end of the drain."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Fleet:
    """Some workers that share their queues; `done` counts what all have finished."""

    def __init__(self, members: Sequence[WorkerProcess]) -> None:
        self.members = members

    @property
    def done(self) -> int:
        return sum(member.done for member in self.members)

    def await_done(self, count: int) -> float:
        """Return once they have finished `count` jobs; the time on the clock of `time.perf_counter`."""
        deadline = time.perf_counter() + PATIENCE_S
        while self.done < count:
            dead = [member for member in self.members if member.process.poll() is not None]
            if dead or time.perf_counter() > deadline:
                raise RuntimeError(f"{self.done} of {count} jobs are done, and {len(dead)} workers have ended.")
            time.sleep(0.002)
        return time.perf_counter()

    def cpu_s(self) -> float:
        """CPU seconds they have used."""
        return sum(member.cpu_s() for member in self.members)


@contextmanager
def fleet(conninfo: str, size: int = 1, module: str = "pgembedd", **environment: str) -> Iterator[Fleet]:
    """Workers that have loaded their model and wait for jobs."""
    with ExitStack() as stack:
        members = [stack.enter_context(WorkerProcess(conninfo, module=module, **environment)) for _ in range(size)]
        for member in members:
            member.await_event("worker_started")
        yield Fleet(members)
