"""The postmaster that runs on a cluster: whether it is alive and ours, its port and URI, whether it takes connections.

After a crash the process id in `postmaster.pid` may belong to an unrelated process or to an unreaped zombie. Postgres
takes both for a running server and refuses to start.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.home import Home
from pgembedd.errors import ConfigurationError

NO_PROCESS = 2**31 - 1  # above every system's highest process id
START_TIMEOUT_S = 300.0  # recovery after a crash may have gigabytes of WAL to read
REFUSING_TIMEOUT_S = 15.0
POLL_S = 0.01

# Variables like PGHOSTADDR or PGSSLMODE are meant for another server. The password is never sent in clear text,
# which another program on the port could request.
_OVERRIDES = {
    "hostaddr": "127.0.0.1",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
    "target_session_attrs": "any",
    "options": "",
}


@dataclass(frozen=True)
class Postmaster:
    """The content of `postmaster.pid`: process id, port (None at first), `starting`, `ready` or `stopping`."""

    pid: int
    port: int | None
    status: str


def live_postmaster(cluster: Path) -> Postmaster | None:
    """Returns the running postmaster of `cluster`, or None. The caller has to be its owner or root."""
    postmaster = _read(cluster / "postmaster.pid")
    if postmaster is None or not _serves(postmaster.pid, cluster):
        return None
    return postmaster


def invalidate_stale(cluster: Path) -> bool:
    """Makes a stale `postmaster.pid` name no process, so that Postgres can start.

    Only call it when no postmaster is alive. The file is changed, not removed: it also names the shared
    memory by which Postgres detects a running backend of the dead server.
    True when there was such a file.
    """
    path = cluster / "postmaster.pid"
    if _read(path) is None:
        return False
    _, newline, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(str(NO_PROCESS).encode() + newline + rest)
    return True


def _read(path: Path) -> Postmaster | None:
    """Parses the lines of the file: pid, data directory, start time, port, socket, address, shared memory, status."""
    try:
        lines = path.read_text(errors="replace").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    port = int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else None
    return Postmaster(pid, port, lines[7].strip() if len(lines) > 7 else "starting")


def _serves(pid: int, cluster: Path) -> bool:
    """Tells by the command line (`-D cluster`) that process `pid` is a postmaster of `cluster`."""
    if Path("/proc/self").exists():
        return b"\0-D\0" + os.fsencode(cluster) + b"\0" in _proc_command_line(pid)
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, check=False).stdout
    return b" -D " + os.fsencode(cluster) in shown


def _proc_command_line(pid: int) -> bytes:
    """Returns the arguments separated by zero bytes; empty for an ended process or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def find_postmaster(home: Home) -> Postmaster | None:
    """Returns the running postmaster. Raises ConfigurationError when it is another user's."""
    try:
        return live_postmaster(home.cluster)
    except PermissionError:
        account_for(home.cluster)  # its error names the owner
        raise


def require_port(home: Home) -> int:
    """Returns the port of the running server. Raises ConfigurationError when none is running."""
    postmaster = find_postmaster(home)
    if postmaster is None or postmaster.port is None:
        raise ConfigurationError(f"The embedded Postgres in {home.root} is not running: start it first.")
    return postmaster.port


def uri(home: Home, dbname: str) -> str:
    """Returns a libpq URI with the superuser's password."""
    port = require_port(home)
    return f"postgresql://postgres:{home.password.read_text().strip()}@127.0.0.1:{port}/{quote(dbname, safe='')}"


def refusal(home: Home) -> str | None:
    """Returns libpq's reason why the server accepts no connection (never parsed), or None if it does."""
    try:
        conninfo = make_conninfo(uri(home, "postgres"), **_OVERRIDES)
        with psycopg.connect(conninfo, connect_timeout=10):
            return None
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1]


def await_ready(home: Home, alive: Callable[[], bool]) -> bool:
    """Waits until the server accepts connections; False when it is no longer `alive`.

    Raises ConfigurationError on a timeout, and when a server that is ready refuses connections.
    """
    begun, ready_since = time.monotonic(), float("inf")
    while alive():
        postmaster = find_postmaster(home)
        ready = postmaster is not None and postmaster.status == "ready"
        reason = refusal(home) if ready else "it is not ready yet"
        if reason is None:
            return True
        now = time.monotonic()
        ready_since = min(ready_since, now) if ready else float("inf")
        if now - ready_since > REFUSING_TIMEOUT_S or now - begun > START_TIMEOUT_S:
            process = f" (process {postmaster.pid})" if postmaster else ""
            raise ConfigurationError(
                f"The embedded Postgres in {home.root}{process} runs but takes no connections ({reason}): "
                f"see {home.log}, or end it and try again."
            )
        time.sleep(POLL_S)
    return False
