"""The handle of a server that we have started: its supervisor, and the pipe that keeps it alive."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.installation import run_environment

SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ServerProcess:
    """A postmaster under its supervisor. Closing the pipe, or any end of our process, stops the server."""

    def __init__(self, command: Sequence[str], account: Account, log: int) -> None:
        """Starts the server; its output goes to the descriptor `log`, which the caller closes."""
        uid, gid = (account.uid, account.gid) if account.switch else (-1, -1)
        supervise = [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), str(uid), str(gid)]
        self._owner_pid = os.getpid()
        self._supervisor = subprocess.Popen(
            [*supervise, *command],
            stdin=subprocess.PIPE,
            bufsize=0,
            stdout=log,
            stderr=log,
            cwd="/",
            env=run_environment(),
            start_new_session=True,  # Ctrl-C in a terminal is for the owner alone
        )

    @property
    def ours(self) -> bool:
        """True if this process started the server; a forked child only has the object."""
        return self._owner_pid == os.getpid()

    def alive(self) -> bool:
        return self._supervisor.poll() is None

    def stop(self, mode: str) -> None:
        """Asks the supervisor to stop the server (`fast`, `immediate`, `kill`) and waits for it.

        For an ended server it only closes the pipe and reaps the supervisor.
        """
        pipe = self._supervisor.stdin
        if pipe is None:  # pragma: no cover - Popen was given a pipe
            return
        with contextlib.suppress(BrokenPipeError):
            pipe.write(f"{mode}\n".encode())
        self._supervisor.wait()
        pipe.close()
