"""Starts, finds and stops the Postgres of a data directory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.home import Home
from pgembedd.embedded_postgres.installation import Installation, find_installation
from pgembedd.embedded_postgres.launch import Launch, ServerProcess
from pgembedd.embedded_postgres.postmaster import (
    POLL_S,
    Postmaster,
    await_ready,
    find_postmaster,
    require_port,
    uri,
)
from pgembedd.errors import ConfigurationError

STOP_TIMEOUT_S = 90.0


def default_data_dir() -> Path:
    """Returns PGEMBEDD_POSTGRES_DIR, or `.pgembedd/postgres` under the current directory."""
    chosen = os.environ.get("PGEMBEDD_POSTGRES_DIR", "")
    return Path(chosen).expanduser() if chosen else Path.cwd() / ".pgembedd" / "postgres"


def running_conninfo() -> str | None:
    """Returns the connection string of the private Postgres of the current directory; None where none runs."""
    data_dir = default_data_dir()
    server = EmbeddedPostgres(data_dir) if data_dir.exists() else None
    return server.conninfo() if server is not None and server.running() else None


class EmbeddedPostgres:
    """One PostgreSQL server over one data directory, on a loopback port.

    `port` is for a start of our own; without it one is chosen and remembered. `settings` are Postgres
    settings that win over ours. `fsync=False` is for disposable data. `launcher` is put before the
    `postgres` command (a dynamic linker, a debugger). `installation` is another PostgreSQL than the wheel's. An
    error that a user can fix (no wheel, no space, no right, a foreign directory) is raised as ConfigurationError.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        fsync: bool = True,
        launcher: Sequence[str] = (),
        installation: Installation | None = None,
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self._home = Home(self.data_dir)
        self._installation = installation
        self._launch = Launch(self._home, port, dict(settings or {}), fsync, tuple(launcher), installation)
        self._process: ServerProcess | None = None

    @property
    def owned(self) -> bool:
        """True if this process started the server, which then ends with it."""
        return self._process is not None and self._process.ours and self._process.alive()

    @property
    def bin_dir(self) -> Path:
        """The directory with psql, pg_dump and pg_restore of this server's version."""
        installation = self._installation or find_installation(Account(os.geteuid(), os.getegid(), switch=False))
        return installation.bin_dir

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None when none is running."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    @property
    def port(self) -> int:
        """The port of the running server. Raises ConfigurationError when none is running."""
        with self._explain_os_errors():
            return require_port(self._home)

    def running(self) -> bool:
        """Tells that the server runs, even if another process started it."""
        postmaster = self._postmaster()
        return postmaster is not None and postmaster.status == "ready"

    def conninfo(self, dbname: str = "postgres") -> str:
        """Returns a libpq URI for the superuser `postgres`, password included: do not log it.

        Raises ConfigurationError when the server is not running.
        """
        with self._explain_os_errors():
            return uri(self._home, dbname)

    def start(self) -> None:
        """Waits for the running server to accept connections, or starts one."""
        with self._explain_os_errors():
            self._home.make()
            with self._home.locked():
                if not self._attach():
                    self._release("fast")
                    self._process = self._launch.run()

    def stop(self, mode: Literal["fast", "immediate"] = "fast", *, force: bool = False) -> None:
        """Stops the server and waits for its end; one of another process only with `force`."""
        self._release(mode)
        if force:
            with self._explain_os_errors():
                self._stop_foreign(mode)

    def kill(self) -> None:
        """Ends all processes of an owned server with SIGKILL, like a power cut, and waits."""
        if not self.owned:
            raise ConfigurationError(f"This process does not own the embedded Postgres in {self.data_dir}.")
        self._release("kill")

    def remove(self) -> None:
        """Stops the server, also one of another process, and deletes all its data, also a relocated cluster."""
        self.stop("immediate", force=True)
        with self._explain_os_errors():
            self._home.delete()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _postmaster(self) -> Postmaster | None:
        with self._explain_os_errors():
            return find_postmaster(self._home)

    def _attach(self) -> bool:
        """Waits until a running server is ready (True) or has ended (False)."""
        return await_ready(self._home, lambda: self._postmaster() is not None)

    def _release(self, mode: str) -> None:
        """Stops the server that this process started, if any; also reaps one that has ended by itself."""
        if self._process is not None and self._process.ours:
            self._process.stop(mode)
            self._process = None

    def _stop_foreign(self, mode: str) -> None:
        postmaster = self._postmaster()
        if postmaster is None:
            return
        os.kill(postmaster.pid, signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._postmaster() is not None:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"The embedded Postgres in {self.data_dir} (process {postmaster.pid}) has not stopped "
                    f"in {STOP_TIMEOUT_S:.0f} s: see {self._home.log}."
                )
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def _explain_os_errors(self) -> Iterator[None]:
        """Turns an OSError (no space, no right, not a directory) into a ConfigurationError."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"The embedded Postgres cannot use {error.filename or self.data_dir} ({reason}): "
                "correct that, or set PGEMBEDD_POSTGRES_DIR to another directory."
            ) from error
