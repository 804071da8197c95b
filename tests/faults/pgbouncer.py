"""PgBouncer, out of Debian's package, which is fetched and unpacked, not installed."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.ports import candidates, free_port
from tests.faults.subjects import APPLICATION, PASSWORD, WORKER
from tests.support import debian
from tests.support.downloads import cache_directory, run_or_skip
from tests.support.waiting import eventually

WHAT = "PgBouncer"
ADMINISTRATOR = "faults_admin"
POOL = 36
"""Connections to the server for each role, at most."""


class Bouncer:
    """A pooler before a server. `mode` is what its clients keep a connection for."""

    def __init__(
        self,
        files: Path,
        folder: Path,
        server: str,
        mode: Literal["session", "transaction"],
        roles: Sequence[str] = (APPLICATION, WORKER),
        ignored: str = "",
        pool: int = POOL,
    ) -> None:
        """`files` are the unpacked packages, copied to where the server's account may run them: `folder`.

        `roles` have the password of tests. `ignored` are the settings that it leaves out, where others are refused.
        """
        self._files, self._folder, self.mode = folder / "files", folder, mode
        folder.mkdir()
        shutil.copytree(files, self._files, symlinks=True)
        self._account = account_for(folder / "cluster")
        self._account.own(folder)
        self.port = next(port for port in candidates(None, folder) if free_port(port))
        target = conninfo_to_dict(server)
        users = folder / "users.txt"
        users.write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in (*roles, ADMINISTRATOR)))
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={target['host']} port={target['port']}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\nadmin_users = {ADMINISTRATOR}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {pool}\nmax_client_conn = 200\n"
            f"ignore_startup_parameters = {ignored}\n"
            "query_wait_timeout = 3\nserver_login_retry = 1\n"
        )
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it accepts connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._files / "usr/sbin/pgbouncer"), str(self._folder / "pgbouncer.ini")],
                cwd="/",
                env=_environment(self._files),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._account.popen_options,
            )
        eventually(self._accepts)

    def route(self, conninfo: str) -> str:
        """The same connection through the pooler."""
        return make_conninfo(conninfo, host="127.0.0.1", port=self.port)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def _accepts(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended: {(self._folder / 'log').read_text()}")
        console = f"host=127.0.0.1 port={self.port} user={ADMINISTRATOR} password='{PASSWORD}' dbname=pgbouncer"
        try:
            psycopg.connect(console, autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True


@cache
def packages() -> Path:
    """The unpacked package and what it needs that this system lacks, from the cache or the mirror. May skip."""
    files = cache_directory("pgbouncer") / platform.machine()
    if not files.exists():
        with tempfile.TemporaryDirectory(dir=files.parent) as name:
            scratch = Path(name)
            release = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
            environment = debian.updated(WHAT, scratch, debian.mirror(WHAT).line(release), installed=True)
            download = ["apt-get", "-q", "-y", "--download-only", "--no-install-recommends", "install", "pgbouncer"]
            run_or_skip(WHAT, download, scratch, environment)
            debian.unpack(WHAT, sorted((scratch / "archives").glob("*.deb")), scratch / "files")
            if not files.exists():
                (scratch / "files").rename(files)
    return files


def version() -> str:
    """The first line of `pgbouncer --version`. May skip."""
    files = packages()
    command = [str(files / "usr/sbin/pgbouncer"), "--version"]
    said = subprocess.run(command, env=_environment(files), check=True, capture_output=True, text=True).stdout
    return said.splitlines()[0]


def _environment(files: Path) -> dict[str, str]:
    libraries = sorted({str(path.parent) for path in files.rglob("*.so*")})
    return {"LD_LIBRARY_PATH": ":".join(libraries), "PATH": "/usr/bin:/bin"}


def why_not() -> str:
    """Why PgBouncer cannot be had here; empty where it can."""
    try:
        packages()
    except pytest.skip.Exception as reason:
        return str(reason)
    return ""
