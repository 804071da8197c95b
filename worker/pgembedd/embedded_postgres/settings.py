"""The server settings for a queue, bulk vector writes and HNSW builds on a small machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from pgembedd.errors import ConfigurationError

SMALL_SHM_BYTES = 1 << 30

DEFAULTS: Mapping[str, str] = {
    # Reached over loopback only: no socket file whose path could be too long or be left behind.
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Sensible for a laptop: the tables of a trial fit, and the model that runs next to it keeps its memory.
    "shared_buffers": "128MB",
    # An HNSW build over 100,000 vectors of 384 halfs stays in memory; beyond that it gets many times slower.
    "maintenance_work_mem": "256MB",
    # Bulk inserts and index builds would otherwise force a checkpoint every few seconds.
    "max_wal_size": "2GB",
    # Our statements are short: compiling one costs more than it runs.
    "jit": "off",
    # A queue is a table of short-lived rows: look for dead ones more often than once a minute.
    "autovacuum": "on",
    "autovacuum_naptime": "15s",
    # Workers, tools and tests together, each with a few connections.
    "max_connections": "100",
    # A log line never carries what users wrote: neither failing statements nor the values of failing rows.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "lc_messages": "C",
}

WITHOUT_FSYNC: Mapping[str, str] = {
    # For disposable data. A commit is still in the operating system's hands before it is reported
    # (synchronous_commit stays on), so killing the server's processes loses nothing; a power cut may.
    "fsync": "off",
    "full_page_writes": "off",
}


def server_settings(overrides: Mapping[str, str], *, port: int, fsync: bool) -> dict[str, str]:
    """Returns all settings of one start; `overrides` win. Raises ConfigurationError for an invalid setting."""
    for name, value in overrides.items():
        if not value.isprintable():
            raise ConfigurationError(f"The Postgres setting {name} has a value with control characters.")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", name):
            raise ConfigurationError(f"{name!r} is not the name of a Postgres setting.")
    small = (shm_bytes := _shm_bytes()) is not None and shm_bytes < SMALL_SHM_BYTES
    return {
        **DEFAULTS,
        # Containers often have 64 MB of /dev/shm, too little for a parallel index build.
        **({"dynamic_shared_memory_type": "mmap"} if small else {}),
        **({} if fsync else WITHOUT_FSYNC),
        **overrides,
        "port": str(port),
    }


def render(settings: Mapping[str, str]) -> str:
    """Returns the text of a configuration file; quotes and backslashes in values are doubled."""
    lines = ["# Written at every start. Change settings with ALTER SYSTEM: it is read after this file."]
    for name, value in settings.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    return "\n".join(lines) + "\n"


def _shm_bytes() -> int | None:
    try:
        usage = os.statvfs("/dev/shm")
    except OSError:
        return None
    return usage.f_bavail * usage.f_frsize
