"""Starting a server that is not running."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgembedd.embedded_postgres.account import Account, account_for
from pgembedd.embedded_postgres.cluster import INCLUDED, ensure_cluster, telling_line
from pgembedd.embedded_postgres.endpoint import await_ready
from pgembedd.embedded_postgres.home import Home, write_owned
from pgembedd.embedded_postgres.installation import Installation, find_installation
from pgembedd.embedded_postgres.pidfile import disarm_stale
from pgembedd.embedded_postgres.ports import candidates, free_port
from pgembedd.embedded_postgres.process import ServerProcess
from pgembedd.embedded_postgres.settings import render, server_settings
from pgembedd.errors import ConfigurationError

STRAGGLERS_MAY_TAKE_S = 10.0


@dataclass(frozen=True)
class Launch:
    """What a start needs to know; see EmbeddedPostgres for the meaning."""

    home: Home
    port: int | None
    settings: Mapping[str, str]
    fsync: bool
    launcher: tuple[str, ...]

    def run(self) -> ServerProcess:
        """Make the cluster if need be and return with a server that takes connections.

        The data directory is locked by the caller. Raises ConfigurationError with the server's own reason.
        """
        account = account_for(self.home.cluster)
        installation = find_installation(account)
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
        """Start on `port`; None when somebody took it in the meantime."""
        settings = server_settings(self.settings, port=port, fsync=self.fsync)
        command = [*self.launcher, installation.program("postgres"), "-D", str(cluster)]
        deadline = time.monotonic() + STRAGGLERS_MAY_TAKE_S
        disarm_stale(cluster)
        while True:
            write_owned(cluster / INCLUDED, render(settings), account)
            process, said_before = self._spawn(command, account)
            if self._await_ready(process):
                return process
            if not free_port(port):
                return None
            # A dead server's lock file that outlives a start: a backend of it has not noticed the end yet.
            if not disarm_stale(cluster) or time.monotonic() > deadline:
                raise ConfigurationError(self._why_not(said_before))
            time.sleep(0.2)

    def _spawn(self, command: list[str], account: Account) -> tuple[ServerProcess, int]:
        """The process, and how many bytes the log held before it."""
        log = self.home.open_log()
        try:
            said_before = os.fstat(log).st_size
            return ServerProcess(command, account, log), said_before
        finally:
            os.close(log)

    def _await_ready(self, process: ServerProcess) -> bool:
        """True once the server takes connections; false when it has ended instead."""
        try:
            if await_ready(self.home, process.alive):
                return True
        except BaseException:
            process.stop("immediate")
            raise
        process.stop("fast")  # it has ended: collects it and closes the pipe
        return False

    def _why_not(self, said_before: int) -> str:
        with self.home.log.open("rb") as log:
            log.seek(said_before)
            said = log.read().decode(errors="replace")
        return (
            f"The embedded Postgres in {self.home.root} did not start: {telling_line(said)} Its log is {self.home.log}."
        )
