"""Workers under test: in a thread of this process, or as the process their users start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pgembedd.loop.role import Role
from pgembedd.loop.worker import Worker
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer
from tests.support.databases import Database
from tests.support.forking import start
from tests.support.owners import IMPORTABLE
from tests.support.waiting import PATIENCE_S as PATIENCE_S
from tests.support.waiting import eventually


def brisk(**settings: Any) -> Settings:
    """Settings for tests: small claims, a short pause, and no sweep unless asked for."""
    return Settings(**{"claim_size": 8, "poll_max_s": 0.2, "sweep_every_s": 3600.0, "grace_s": 30.0} | settings)


@contextmanager
def worker_thread(
    database: Database | str,
    load: Callable[[str], Embedder],
    *,
    pipelines: tuple[str, ...] = (),
    observer: Observer = SILENT,
    **settings: Any,
) -> Iterator[Worker]:
    """A worker in this process; drained at the end. Raises what the worker died of."""
    conninfo = database if isinstance(database, str) else database.conninfo
    with closing(ModelRegistry(load)) as models:
        worker = Worker(conninfo, brisk(**settings), models, Role(pipelines), observer=observer)
        with running(worker):
            yield worker


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    """A worker in a thread of this process, which it yields; drained at the end. Raises what the worker died of."""
    died: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            died.append(error)

    thread = threading.Thread(target=run, name="worker")
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the worker did not stop"
        if died:
            raise died[0]


class WorkerProcess:
    """`pgembedd run` (or another that stays) in its own process; `events` are its log."""

    def __init__(
        self,
        conninfo: str,
        *arguments: str,
        module: str = "pgembedd",
        command: str = "run",
        namespace: str = "",
        program: str = "",
        **environment: str,
    ) -> None:
        """`module` is `pgembedd`, or one of tests.support that wraps the model before it calls the same command.

        `namespace` is the network namespace that it runs in, `program` the folder of another version.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))}
        kept = {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
        own = {"PYTHONPATH": IMPORTABLE, "PGEMBEDD_SWEEP_EVERY_S": "3600"}
        own |= {"DATABASE_URL": conninfo} if conninfo else {}
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        within = ["ip", "netns", "exec", namespace] if namespace else []
        if program:
            within, own["PYTHONPATH"] = ["env"], program  # which is started, not forked
        env = {**inherited, **kept, **own, **environment}
        reading, writing = os.pipe()
        self._log = os.fdopen(reading)
        with Path(os.devnull).open("w") as nothing, os.fdopen(writing, "w") as log:
            self.process = start(module, [command, *arguments], env, nothing.fileno(), log.fileno(), within=within)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._log:
            self.lines.append(line)
            with contextlib.suppress(json.JSONDecodeError):
                self.events.append(json.loads(line))

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of that name so far."""
        return [one for one in list(self.events) if one.get("event") == event]

    def await_event(self, event: str, *, after: int = 0) -> None:
        """Return when it has logged that event, which it had logged `after` times before. One cause may log several."""

        def there() -> bool:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(PATIENCE_S)  # its last lines may not have been read yet
            found = len(self.named(event)) > after
            assert found or not ended, (event, self.lines)
            return found

        eventually(there)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.wait()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(timeout_s)
        self._reader.join()
        self._log.close()
        return code

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        self.wait()
