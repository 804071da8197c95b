"""The environment of programs that use packages of other projects, which `make test-clients` installs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Outcome
from tests.support.owners import REPOSITORY
from tests.support.waiting import PATIENCE_S

CLIENTS = REPOSITORY / ".venv-clients"


def environment_of(folder: Path) -> dict[str, str]:
    """Returns the environment variables of `python`, `node`, `npx` and the like for programs in a folder.

    Node looks for packages in the folder of its program, which gets a link to them.
    """
    if not (CLIENTS / ".installed").exists():
        pytest.fail(f"{CLIENTS.name} is not installed: run `make test-clients`, which does that first.")
    if not (folder / "node_modules").is_symlink():
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    return {"PATH": os.pathsep.join([str(CLIENTS / "bin"), os.environ["PATH"]]), "HOME": str(folder)}


def run_program(program: Path, **environment: str) -> Outcome:
    """Runs a program of Python (.py) or JavaScript (.mjs) to its end, with these packages."""
    done = subprocess.run(
        ["python" if program.suffix == ".py" else "node", str(program)],
        env={**environment_of(program.parent), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
