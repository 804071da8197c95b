"""Starts a server that is not running, as a child under a supervisor and a pipe that keeps it alive."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgembedd.embedded_postgres.account import Account, account_for
from pgembedd.embedded_postgres.cluster import INCLUDED, ensure_cluster, error_line
from pgembedd.embedded_postgres.home import Home, write_owned
from pgembedd.embedded_postgres.installation import Installation, find_installation, run_environment
from pgembedd.embedded_postgres.ports import candidates, free_port
from pgembedd.embedded_postgres.postmaster import await_ready, invalidate_stale
from pgembedd.embedded_postgres.settings import render, server_settings
from pgembedd.errors import ConfigurationError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
OLD_BACKENDS_TIMEOUT_S = 10.0


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


@dataclass(frozen=True)
class Launch:
    """The parameters of a start; EmbeddedPostgres documents them."""

    home: Home
    port: int | None
    settings: Mapping[str, str]
    fsync: bool
    launcher: tuple[str, ...]
    installation: Installation | None = None

    def run(self) -> ServerProcess:
        """Creates the cluster if needed, and returns a server that accepts connections.

        The data directory is locked by the caller. Raises ConfigurationError with the server's own reason.
        """
        account = account_for(self.home.cluster)
        installation = self.installation or find_installation(account)
        cluster = ensure_cluster(self.home, account, installation, fsync=self.fsync)
        for port in self._ports():
            process = self._try(port, cluster, account, installation) if free_port(port) else None
            if process is not None:
                write_owned(self.home.port, f"{port}\n")
                return process
        raise ConfigurationError(
            f"The embedded Postgres in {self.home.root} cannot listen on 127.0.0.1:{port}, which is in use: "
            "choose another port, or end the program that holds it."
        )

    def _ports(self) -> Iterator[int]:
        if self.port is not None:
            return iter([self.port])
        return candidates(self.home.remembered_port(), self.home.root)

    def _try(self, port: int, cluster: Path, account: Account, installation: Installation) -> ServerProcess | None:
        """Starts the server on `port`; None when another process has taken the port meanwhile."""
        settings = server_settings(self.settings, port=port, fsync=self.fsync)
        command = [*self.launcher, installation.program("postgres"), "-D", str(cluster)]
        deadline = time.monotonic() + OLD_BACKENDS_TIMEOUT_S
        invalidate_stale(cluster)
        while True:
            write_owned(cluster / INCLUDED, render(settings), account)
            process, log_offset = self._spawn(command, account)
            if self._await_ready(process):
                return process
            if not free_port(port):
                return None
            # The lock file of a dead server that outlives a start: one of its backends is still running.
            if not invalidate_stale(cluster) or time.monotonic() > deadline:
                raise ConfigurationError(self._failure(log_offset))
            time.sleep(0.2)

    def _spawn(self, command: list[str], account: Account) -> tuple[ServerProcess, int]:
        """Starts the process; returns it with the size of the log before, in bytes."""
        log = self.home.open_log()
        try:
            log_offset = os.fstat(log).st_size
            return ServerProcess(command, account, log), log_offset
        finally:
            os.close(log)

    def _await_ready(self, process: ServerProcess) -> bool:
        """Waits until the server accepts connections; False when it has ended."""
        try:
            if await_ready(self.home, process.alive):
                return True
        except BaseException:
            process.stop("immediate")
            raise
        process.stop("fast")  # it has ended: collects it and closes the pipe
        return False

    def _failure(self, log_offset: int) -> str:
        with self.home.log.open("rb") as log:
            log.seek(log_offset)
            said = log.read().decode(errors="replace")
        return (
            f"The embedded Postgres in {self.home.root} did not start: {error_line(said)} Its log is {self.home.log}."
        )
