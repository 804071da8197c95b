"""Databases for tests: one server per session, one fresh database per test.

Databases are separate, roles are not: they belong to the whole server. A test that creates a role gives it
its own name and drops it again, after its database.
"""

from __future__ import annotations

import atexit
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.cluster import ensure_cluster
from pgembedd.embedded_postgres.home import Home
from pgembedd.embedded_postgres.installation import Installation, find_installation
from tests.support.waiting import eventually

SHARED_MEMORY, ENOUGH_BYTES = "/dev/shm", 4 << 30

# Thousands of databases come and go, so what each connection costs and what looks through the whole cache counts.
# And autovacuum comes at its own times: its locks put off what waits 100 ms for one, and its statistics change plans.
CHEAP = {"scram_iterations": "1", "shared_buffers": "32MB", "autovacuum": "off"}
SINCE_16 = {"scram_iterations"}
TWO_PHASE = {"max_prepared_transactions": "4"}

_numbers = itertools.count(1)
_admins: dict[EmbeddedPostgres, psycopg.Connection] = {}


@dataclass(frozen=True)
class Database:
    """A database of the test server; `conninfo` is a libpq URI as superuser."""

    name: str
    conninfo: str

    def connect(self, **kwargs: Any) -> psycopg.Connection:
        """A new connection, autocommit unless told otherwise; use it in a `with`."""
        return psycopg.connect(self.conninfo, **{"autocommit": True, **kwargs})


@contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that the server's account may pass through, which pytest's own (0700) is not."""
    with tempfile.TemporaryDirectory(prefix="pgembedd-test-", dir=_memory(), ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def initialized(data_dir: Path) -> Path:
    """Puts a cluster where the server of `data_dir` looks for its own: a copy, which takes a tenth of what initdb does.

    Its owner is that of root's servers, or this user. Settings, port and log are made by the first start.
    """
    subprocess.run(["cp", "-a", str(_initialized_once()), str(data_dir)], check=True)
    return data_dir


@cache
def _initialized_once() -> Path:
    ended = ExitStack()
    atexit.register(ended.close)
    home = Home(ended.enter_context(open_directory()) / "data")
    home.make()
    account = account_for(home.cluster)
    ensure_cluster(home, account, find_installation(account), fsync=False)
    return home.root


def _memory() -> str | None:
    """Memory to put files in, where there is plenty and TMPDIR says nothing: a new cluster is 40 MB of writes."""
    try:
        place = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    roomy = place.f_bavail * place.f_frsize >= ENOUGH_BYTES and not place.f_flag & os.ST_NOEXEC
    return SHARED_MEMORY if roomy and "TMPDIR" not in os.environ else None


@contextmanager
def running_server(**kwargs: Any) -> Iterator[EmbeddedPostgres]:
    """A running server of its own in a temporary directory; `kwargs` as for EmbeddedPostgres."""
    installation: Installation | None = kwargs.get("installation")
    kwargs["settings"] = {**known_settings(CHEAP, installation), **TWO_PHASE, **kwargs.get("settings", {})}
    with (
        open_directory() as directory,
        EmbeddedPostgres(_data_dir(directory, installation), fsync=False, **kwargs) as server,
        psycopg.connect(server.conninfo(), autocommit=True) as admin,
    ):
        _ease_logging_in(server, admin)
        _admins[server] = admin
        try:
            yield server
        finally:
            del _admins[server]


def known_settings(settings: Mapping[str, str], installation: Installation | None) -> dict[str, str]:
    """The settings that the version knows."""
    old = installation is not None and installation.major < 16
    return {name: value for name, value in settings.items() if not (old and name in SINCE_16)}


def _data_dir(directory: Path, installation: Installation | None) -> Path:
    """Returns the place for a cluster; that of the wheel's own PostgreSQL is there already."""
    return initialized(directory / "postgres") if installation is None else directory / "postgres"


def _ease_logging_in(server: EmbeddedPostgres, admin: psycopg.Connection) -> None:
    """Store the same password with one round of hashing: thousands of rounds would be half of what a connection costs,
    and the tests make thousands of connections."""
    password = psycopg.conninfo.conninfo_to_dict(server.conninfo())["password"]
    admin.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(str(password)))


@contextmanager
def fresh_database(server: EmbeddedPostgres, template: str = "template0") -> Iterator[Database]:
    """A new database, a copy of `template`; dropped afterwards with its open connections."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with administrator(server) as admin:
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield Database(name, server.conninfo(name))
    finally:
        if server.running():
            with administrator(server) as admin:
                _end_sessions(admin, name)
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                admin.execute(drop.format(sql.Identifier(name)))


def _end_sessions(admin: psycopg.Connection, name: str) -> None:
    """Ends what is connected to a database, and waits for it: DROP DATABASE looks again only after 100 ms."""
    end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = %s"
    eventually(lambda: admin.execute(end, [name]).fetchall() == [(0,)])


@contextmanager
def administrator(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A connection to the database `postgres`, autocommit: the one that `running_server` keeps, if it still works."""
    if server in _admins and _answers(_admins[server]):
        yield _admins[server]
        return
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        yield admin


def _answers(connection: psycopg.Connection) -> bool:
    """Tells that the server has not been started again since."""
    with suppress(psycopg.OperationalError):
        connection.execute("")
        return True
    return False
