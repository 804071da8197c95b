"""Tests in several processes (pytest-xdist, `make test`): how many, and which of them belong together.

Each process has its own server, databases, roles and temporary directories, so that tests meet only on what the
machine has once: ports, memory, processors. Without `-n` nothing here has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from worker.model.threads import usable_cores

MOST_PROCESSES = 4  # each has a server and the model in memory

# What takes long to make: the tests of one of these run in one process, one after the other, so that it is made once.
COSTLY = ("cron_server", "pgmq_server", "untouched_server", "int8", "e5", "library")


def processes() -> int:
    """As many as there are cores."""
    return min(MOST_PROCESSES, usable_cores())


def group_by_costly_fixtures(items: Iterable[pytest.Item]) -> None:
    """Mark the tests that use one with its name and, where there are several of it, with which one."""
    for item in items:
        used = next((name for name in COSTLY if name in getattr(item, "fixturenames", ())), None)
        if used is not None:
            which = getattr(getattr(item, "callspec", None), "params", {}).get(used)
            item.add_marker(pytest.mark.xdist_group(used if which is None else f"{used}-{which}"))
