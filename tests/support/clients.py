"""The environment of programs that use packages of other projects, which `make test-clients` installs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.owners import REPOSITORY

CLIENTS = REPOSITORY / ".venv-clients"


def environment_of(folder: Path) -> dict[str, str]:
    """Returns the environment variables of `python`, `node`, `npx` and the like for programs in a folder.

    Node looks for packages in the folder of its program, which gets a link to them.
    """
    if not (CLIENTS / ".installed").exists():
        pytest.fail(f"{CLIENTS.name} is not installed: run `make test-clients`, which does that first.")
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    return {"PATH": os.pathsep.join([str(CLIENTS / "bin"), os.environ["PATH"]]), "HOME": str(folder)}
