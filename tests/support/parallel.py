"""Tests in several processes (pytest-xdist, `make test`): how many.

Each process has its own server, databases, roles and temporary directories, so that tests meet only on what the
machine has once: ports, memory, processors. The tests of a file run in one process (`--dist loadfile`), so that
what a file's fixtures take long to make is made once.
"""

from __future__ import annotations

from pgembedd.model.cpu import usable_cores

MOST_PROCESSES = 4  # each has a server and the model in memory


def processes() -> int:
    """One more than there are cores: tests of signals and leases wait more than they compute."""
    return min(MOST_PROCESSES, usable_cores() + 1)
