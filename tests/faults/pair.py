"""A primary and a synchronous standby that change places."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.installation import run_environment, run_program
from pgembedd.embedded_postgres.ports import candidates, free_port
from tests.support.waiting import eventually


class Node:
    """A server over a copy that pg_basebackup made."""

    def __init__(self, folder: Path, port: int, bin_dir: Path, launcher: Sequence[str]) -> None:
        self.folder, self.port = folder, port
        self._account = account_for(folder)
        self._log = folder.with_suffix(".log").open("ab")
        self._process = subprocess.Popen(
            [*launcher, str(bin_dir / "postgres"), "-D", str(folder), "-c", f"port={port}"],
            cwd="/",
            env=run_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            **self._account.popen_options,
        )

    def alive(self) -> bool:
        """Tells that its postmaster runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for the postmaster, whose children end when they notice."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class Pair:
    """The server of a scene: what is the primary at the time. `route` makes connection strings that name both ports."""

    def __init__(self, folder: Path, settings: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        """`arguments`: the further ones of EmbeddedPostgres."""
        self._folder, self._launcher = folder, arguments.get("launcher", ())
        self._first = EmbeddedPostgres(folder / "first", fsync=False, settings=settings, **arguments)
        self._first.start()
        self.bin_dir = self._first.bin_dir
        self._port = self._first.port
        self._other_port = next(port for port in candidates(None, folder) if port != self._port and free_port(port))
        self._url = self._first.conninfo()
        self._primary: Node | None = None
        self._standby: Node | None = None
        self._copies = 0

    def conninfo(self, dbname: str = "postgres") -> str:
        """The primary's."""
        return make_conninfo(self._url, port=self._port, dbname=dbname)

    def standby_conninfo(self, dbname: str = "postgres") -> str:
        """The standby's."""
        return make_conninfo(self._url, port=self._other_port, dbname=dbname)

    def route(self, conninfo: str) -> str:
        """The same for clients: both servers, of which they take the one that can be written to."""
        host = str(conninfo_to_dict(conninfo)["host"])
        ports = sorted((self._port, self._other_port))
        return make_conninfo(
            conninfo,
            host=f"{host},{host}",
            port=",".join(map(str, ports)),
            target_session_attrs="read-write",
            connect_timeout=3,
        )

    def running(self) -> bool:
        """Tells that the primary runs."""
        return self._first.running() if self._primary is None else self._primary.alive()

    def start(self) -> None:
        """A scene's server starts by `promote`."""

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Ends both."""
        for node in (self._primary, self._standby):
            if node is not None and node.alive():
                node.kill()
        self._first.stop("immediate")

    def kill(self) -> None:
        """SIGKILL for the primary."""
        if self._primary is None:
            self._first.kill()
        else:
            self._primary.kill()

    def add_standby(self) -> None:
        """Copies the primary, and returns when no commit is acknowledged any more that the standby does not have."""
        if self._standby is not None:
            return
        self._copies += 1
        folder = self._folder / f"copy_{self._copies}"
        account = account_for(folder)
        folder.mkdir(mode=0o700)
        account.own(folder)
        backup = [str(self.bin_dir / "pg_basebackup"), "-D", str(folder), "-d", self.conninfo(), "-R", "-c", "fast"]
        done = run_program([*backup, "--no-sync"], account)
        if done.returncode != 0:
            raise RuntimeError(f"pg_basebackup failed: {done.stdout}")
        self._standby = Node(folder, self._other_port, self.bin_dir, self._launcher)
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            eventually(lambda: _one(connection, "select count(*) from pg_stat_replication where state = 'streaming'"))
            _set(connection, "synchronous_standby_names = '*'")
            eventually(lambda: _one(connection, "select count(*) from pg_stat_replication where sync_state = 'sync'"))

    def promote(self) -> None:
        """The standby becomes the primary; the dead one's files go."""
        assert self._standby is not None
        old, self._primary, self._standby = self._primary, self._standby, None
        self._port, self._other_port = self._other_port, self._port
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute("select pg_promote()")
            _set(connection, "synchronous_standby_names = ''")
        if old is not None:
            shutil.rmtree(old.folder)


def _one(connection: psycopg.Connection, statement: str) -> bool:
    row = connection.execute(statement.encode()).fetchone()
    return row is not None and row[0] > 0


def _set(connection: psycopg.Connection, setting: str) -> None:
    connection.execute(f"alter system set {setting}".encode())
    connection.execute("select pg_reload_conf()")
