"""Tests in several processes (pytest-xdist, `make test`): how many, in which order, and how long they took.

Each process has its own server, databases, roles and temporary directories, so that tests meet only on what the
machine has once: ports, memory, processors. The tests of a file run in one process (`--dist loadfile`), so that
what a file's fixtures take long to make is made once.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from pgembedd.model.cpu import usable_cores

MOST_PROCESSES = 4  # each has a server and the model in memory
# Of each suite by its mark: its name, and the seconds it may take on two cores that do nothing else.
SUITES = {
    "not (slow or clients or cluster or engines or release)": ("default", 240),
    "slow and not release": ("slow", 700),
}
# Folders by how long their files take: what is handed out last is short, and no process is left alone with a long one.
LONGEST_FIRST = ("faults", "acceptance", "model", "http", "loop", "migration", "sql", "project")
_TESTS = Path(__file__).parents[1]


def processes() -> int:
    """Two more than there are cores: half of the time the tests wait, for signals, leases and other processes."""
    return min(MOST_PROCESSES, usable_cores() + 2)


class Parallel:
    """The hooks of a session in several processes."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Before the processes start."""
        # Hundreds of commands are started: each would compile all of worker/ again.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        config.option.loadscopereorder = False  # xdist would begin with the files of many tests, not with long ones

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Leave garbage alone while tests are collected, and all that has come of it from then on: it lives to the end.

        Looking through it again and again took up to a third of the processor time of the tests.
        """
        gc.disable()
        try:
            return (yield)
        finally:
            gc.collect()
            gc.freeze()
            gc.enable()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """The long files first, where files are handed out to processes."""
        if hasattr(config, "workerinput"):
            items.sort(key=lambda item: rank(item.path))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """One line to compare with the budget; it fails nothing, because machines do other things, too."""
        chosen = config.args_source != pytest.Config.ArgsSource.TESTPATHS or config.option.keyword
        if chosen or config.option.markexpr not in SUITES:
            return  # not the whole of it
        name, budget_s = SUITES[config.option.markexpr]
        passed, took_s = len(terminalreporter.stats.get("passed", [])), time.monotonic() - self._began
        terminalreporter.write_line(
            f"{name} suite: {took_s:.0f} s, {passed} passed, {usable_cores()} cores (budget {budget_s} s)"
        )


def rank(path: Path) -> int:
    """Returns the rank in which the files of a folder of tests/, and of those in it, are scheduled."""
    return next((n for n, name in enumerate(LONGEST_FIRST) if _TESTS / name in path.parents), len(LONGEST_FIRST))
