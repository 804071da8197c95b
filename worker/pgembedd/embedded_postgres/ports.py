"""Chooses a loopback port."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

# Below the range of ephemeral ports, so that the same port is still free at the next start; and away from 5432.
FIRST, COUNT = 20_000, 10_000
TRIES = 200


def free_port(port: int) -> bool:
    """Tests that a server could listen on 127.0.0.1:`port` now (another process may still take it)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def candidates(remembered: int | None, data_dir: Path) -> Iterator[int]:
    """Yields the remembered port, then ports from a hash of the directory, so that two servers seldom collide."""
    if remembered is not None:
        yield remembered
    offset = zlib.crc32(str(data_dir).encode(errors="replace"))
    for step in range(TRIES):
        yield FIRST + (offset + step * 7) % COUNT
