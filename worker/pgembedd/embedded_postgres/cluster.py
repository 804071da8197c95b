"""Creates and checks a cluster: initdb, its version, its password."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.home import Home, write_owned
from pgembedd.embedded_postgres.installation import Installation, run_program
from pgembedd.errors import ConfigurationError

INCLUDED = "pgembedd.conf"
LC_CTYPES = (
    "C.UTF-8",
    "C",
)  # the first knows letters beyond ASCII (text search asks it); not every system has it


def ensure_cluster(home: Home, account: Account, installation: Installation, *, fsync: bool) -> Path:
    """Returns the path of a usable cluster, created with initdb if there is none."""
    if home.cluster.exists():
        _check(home, account, installation)
        return home.cluster
    if home.relocated:
        raise ConfigurationError(
            f"The cluster of {home.root} should be in {home.cluster}, and is not there: bring it back, "
            f"or move {home.root} away to start again."
        )
    if not account.may_execute(home.root):
        home.relocate()
    _create(home, account, installation, fsync=fsync)
    return home.cluster


def _check(home: Home, account: Account, installation: Installation) -> None:
    cluster = home.cluster
    version = cluster / "PG_VERSION"
    if not version.is_file() or not home.password.is_file():
        missing = "password" if version.is_file() else f"{cluster.name}/PG_VERSION"
        raise ConfigurationError(
            f"{home.root} is not a whole data directory of the embedded Postgres ({missing} is missing): "
            "restore it, or move it away to start again."
        )
    found = version.read_text().strip()
    if found != str(installation.major):
        raise ConfigurationError(
            f"The data directory {home.root} was made by PostgreSQL {found}, and this is PostgreSQL "
            f"{installation.major}: dump it with the old version and restore it, or move it away to "
            "start again."
        )
    if not account.may_execute(cluster):
        raise ConfigurationError(
            f"The account that owns {cluster} may not enter it: move {home.root} to where it may, "
            "or set PGEMBEDD_POSTGRES_DIR to another directory."
        )


def _create(home: Home, account: Account, installation: Installation, *, fsync: bool) -> None:
    """Builds the cluster in a staging directory and renames it: an interrupted start leaves no partial cluster."""
    place = home.cluster
    for leftover in place.parent.glob("cluster.new-*"):
        shutil.rmtree(leftover)
    password = secrets.token_urlsafe(24)
    staging = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=place.parent))
    try:
        account.own(staging)
        _initdb(staging, password, account, installation, fsync=fsync)
        write_owned(home.password, password)
        (staging / "data").rename(place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _initdb(staging: Path, password: str, account: Account, installation: Installation, *, fsync: bool) -> None:
    """Runs initdb in `staging/data`."""
    cluster = staging / "data"
    password_file = staging / "password"
    write_owned(password_file, password, account)
    for lc_ctype in LC_CTYPES:
        command = _initdb_command(cluster, password_file, lc_ctype, installation, fsync)
        outcome = run_program(command, account)
        if outcome.returncode == 0:
            break
    else:
        raise ConfigurationError(
            f"Postgres could not create its data in {staging.parent}: {error_line(outcome.stdout)} "
            "Make room or permission for it, or set PGEMBEDD_POSTGRES_DIR to another directory."
        )
    configuration = cluster / "postgresql.conf"
    write_owned(configuration, configuration.read_text() + f"\ninclude_if_exists = '{INCLUDED}'\n", account)


def _initdb_command(
    cluster: Path, password_file: Path, lc_ctype: str, installation: Installation, fsync: bool
) -> list[str]:
    return [
        installation.program("initdb"),
        f"--pgdata={cluster}",
        "--username=postgres",
        "--auth=scram-sha-256",  # a loopback port is open to every local user
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        # Sorting and letter case from Postgres itself: the same on every system and under every locale.
        "--locale=C",
        f"--lc-ctype={lc_ctype}",
        *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if installation.major >= 17 else []),
        "--text-search-config=english",
        "--no-instructions",
        *([] if fsync else ["--no-sync"]),
    ]


def error_line(text: str) -> str:
    """Returns the line of a program's output with the reason: the last fatal one, else the last. Never parsed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    line = (fatal or lines or ["(it said nothing)"])[-1]
    return line if line.endswith((".", "!")) else f"{line}."
