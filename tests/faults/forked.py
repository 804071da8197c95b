"""Workers that start in a tenth of the time: forked from a process that has imported everything, not one worker yet.

A thousand kills want a thousand workers. From the fork on it is the same command in a process of its own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO, cast

from tests.support import odd_worker
from tests.support.worker import WorkerProcess

PRELOADED = [
    "__main__",
    "tests.faults.forked",
    "pgembedd.cli.run",
    "pgembedd.loop.worker",
    "pgembedd.model",
    "onnxruntime",
]
_context: ForkServerContext = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)
_numbers = itertools.count(1)


class ForkedWorker(WorkerProcess):
    """A worker of tests.support.odd_worker; its log comes through a named pipe in `folder`."""

    def __init__(self, folder: Path, conninfo: str, *arguments: str, **environment: str) -> None:
        self._log = folder / f"worker_{next(_numbers)}.log"
        super().__init__(conninfo, *arguments, **environment)

    def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Forks; `command` is that of a process of its own, of which the arguments count."""
        arguments = command[command.index("run") :]
        return cast("subprocess.Popen[str]", Forked(self._log, arguments, environment))


class Forked:
    """As much of Popen as a WorkerProcess needs."""

    def __init__(self, log: Path, arguments: list[str], environment: dict[str, str]) -> None:
        os.mkfifo(log)
        self._process = _context.Process(target=work, args=(str(log), arguments, environment))
        self._process.start()
        self.stderr: IO[str] = log.open(encoding="utf-8")  # returns once the worker has opened it, too
        log.unlink()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait(self, timeout_s: float) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked worker", timeout_s)
        return self._process.exitcode


def work(log: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Runs in the forked process: the command with its own streams and environment."""
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, os.devnull, os.O_WRONLY), (2, log, os.O_WRONLY)):
        os.dup2(os.open(path, flags), number)
    # Anew, as those of the process before may have been files, in which one can seek.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pgembedd", *arguments]
    odd_worker.main()
