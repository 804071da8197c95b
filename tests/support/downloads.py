"""A cache for what tests fetch once, and running the tools that fetch it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import platformdirs
import pytest

FETCH_TIMEOUT_S = 120


def cache_directory(name: str) -> Path:
    """A directory of the user's cache that outlives the session."""
    directory = platformdirs.user_cache_path("pgembedd") / "tests" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def run_or_skip(what: str, command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool that may need the network; its output, or a skip of the test with the reason."""
    try:
        outcome = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            timeout=FETCH_TIMEOUT_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{what} cannot be had: {error}")
    if outcome.returncode != 0:
        lines = [line for line in outcome.stdout.splitlines() if line.strip()] or ["no output"]
        telling = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!", "Err:"))] or lines
        pytest.skip(f"{what} cannot be had: {command[0]} says: {telling[0].strip()}")
    return outcome.stdout
