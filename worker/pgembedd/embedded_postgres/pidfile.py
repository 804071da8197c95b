"""Checks that the postmaster in `postmaster.pid` is alive and is ours.

After a crash the process id may belong to an unrelated process or to an unreaped zombie. Postgres takes both for a
running server and refuses to start.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

NO_PROCESS = 2**31 - 1  # above every system's highest process id


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
